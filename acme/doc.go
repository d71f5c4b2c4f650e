// Package acme is the ACME server: RFC 8555, with IP identifiers (RFC 8738),
// renewal information (RFC 9773) and profiles (draft-ietf-acme-profiles).
//
// It proves who asks (account keys, external account bindings) and that they
// control the names (challenges), and keeps that state as records of the storage:
// accounts, orders and authorizations, each change one unit. Certificates come
// from ca.Authority.Issue alone, with the order's change of state attached, so
// that an order has exactly one certificate whatever happens meanwhile. The order's
// ID is the request's ID: a repetition gets the same certificate.
//
// What of RFC 8555 is done otherwise stands in docs/acme-divergences.md.
package acme
