// Package identity holds the nouns that every room speaks of: Identifier,
// Principal, Request, Serial, KeyID, RevocationReason. It does no I/O and
// imports, beyond the standard library, only the tables of golang.org/x/net/idna:
// without them an A-label cannot be told from a look-alike.
package identity
