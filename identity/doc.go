// Package identity holds the nouns that every room speaks of: Identifier,
// Principal, Request, Serial, KeyID, RevocationReason. It does no I/O and
// imports only the standard library.
package identity
