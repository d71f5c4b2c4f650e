// Package keys opens and makes the authority's private keys by URI, through the
// key managers of go.step.sm/crypto, and judges the public keys of others.
//
// A URI names where a key is: "file:PATH" is a PKCS#8 PEM file (RFC 5958,
// encrypted under a passphrase by PBES2 of RFC 8018), relative to Config.Dir.
// Other schemes ("pkcs11:", "awskms:" …) reach the key managers that the binary
// was built with.
package keys
