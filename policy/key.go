package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// keyNames are the algorithms that profiles can name.
var keyNames = []string{"ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"}

// describeKey is the name of a public key as profiles write it, its family as
// conditions write it (ECDSA, Ed25519, RSA), its size in bits and its curve.
// Anything else has the name of its Go type, which no profile can name.
func describeKey(pub crypto.PublicKey) (name string, key celKey) {
	defer func() { key.Name = name }()
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == nil {
			return "ecdsa", celKey{Algorithm: "ECDSA"}
		}
		curve := k.Curve.Params().Name
		return "ecdsa-" + strings.ToLower(strings.ReplaceAll(curve, "-", "")),
			celKey{Algorithm: "ECDSA", Size: int64(k.Curve.Params().BitSize), Curve: curve}
	case ed25519.PublicKey:
		return "ed25519", celKey{Algorithm: "Ed25519", Size: 256}
	case *rsa.PublicKey:
		if k.N == nil {
			return "rsa", celKey{Algorithm: "RSA"}
		}
		return fmt.Sprintf("rsa-%d", k.N.BitLen()), celKey{Algorithm: "RSA", Size: int64(k.N.BitLen())}
	}
	return fmt.Sprintf("%T", pub), celKey{}
}

// usable are those of the key usages that a key of the family can be used for: an
// ECDSA key does not encipher (RFC 8813 §3), an Ed25519 key signs only (RFC 8410
// §5), an RSA key does not agree on keys (RFC 3279 §2.3.1).
func usable(usages []string, family string) []string {
	var cannot []string
	switch family {
	case "ECDSA":
		cannot = []string{"key_encipherment", "data_encipherment"}
	case "Ed25519":
		cannot = []string{"key_encipherment", "data_encipherment", "key_agreement"}
	case "RSA":
		cannot = []string{"key_agreement"}
	}
	return slices.DeleteFunc(slices.Clone(usages), func(usage string) bool { return slices.Contains(cannot, usage) })
}

// SamplePublicKey is a public key of the named algorithm whose private key
// nobody has, and that is fit for a certificate as far as can be seen: it stands for a key in tests and simulations of a policy.
func SamplePublicKey(name string) (crypto.PublicKey, error) {
	switch name {
	case "ecdsa-p256":
		return samplePoint(elliptic.P256())
	case "ecdsa-p384":
		return samplePoint(elliptic.P384())
	case "ed25519":
		// The base point (RFC 8032 §5.1).
		return ed25519.PublicKey(append([]byte{0x58}, bytes.Repeat([]byte{0x66}, ed25519.PublicKeySize-1)...)), nil
	case "rsa-2048":
		return sampleModulus(2048, 3), nil
	case "rsa-3072":
		return sampleModulus(3072, 15), nil
	case "rsa-4096":
		return sampleModulus(4096, 3), nil
	}
	return nil, fmt.Errorf("key %.32q is not one of %s", name, strings.Join(keyNames, ", "))
}

// sampleModulus is an RSA key of the modulus 2^(bits-1) + odd, of which nobody
// knows the factors; odd is such that none of them is small.
func sampleModulus(bits uint, odd int64) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(odd)), E: 65537}
}

// samplePoint is the curve's base point as a public key.
func samplePoint(curve elliptic.Curve) (crypto.PublicKey, error) {
	p := curve.Params()
	size := (p.BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed (SEC 1 §2.3.3)
	p.Gx.FillBytes(point[1 : 1+size])
	p.Gy.FillBytes(point[1+size:])
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}
