package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/certwright/certwright/keys"
)

// keyNames are the values of --key, the default first.
var keyNames = []string{keys.ECDSAP256, keys.ECDSAP384, keys.Ed25519, keys.RSA2048, keys.RSA3072, keys.RSA4096}

// newKey makes a private key in this process; it goes to a file of the caller and
// nowhere else.
func newKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case keys.ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case keys.ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case keys.Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case keys.RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case keys.RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case keys.RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, usagef("--key %q is not one of %s", algorithm, strings.Join(keyNames, ", "))
}

// keyPEM is the key as PKCS#8 (RFC 5958) in PEM.
func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
