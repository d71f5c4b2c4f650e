// Package jws reads the JSON Web Signatures of ACME requests (RFC 8555 §6.2): the
// flattened JSON serialization of RFC 7515 §7.2.2 and nothing else. The form is
// checked here, strictly and before any cryptography; the signature is verified
// over the very octets that were checked. JWKs are read by go-jose.
package jws
