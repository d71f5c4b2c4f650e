// Package cosign is what a log and its witnesses say to each other: the request and
// answer of add-checkpoint (C2SP tlog-witness) and the keys of cosignatures (C2SP
// tlog-cosignature, cosignature/v1), whose signatures are those of
// github.com/transparency-dev/formats. It is pure: bytes in, bytes out.
package cosign

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// The types of key that a cosignature/v1 by Ed25519 is made with: its own, and a
// plain Ed25519 key that is used for it.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
)

// NewVerifier reads a witness's verifier key "name+hash+key". The key's type is 4
// (cosignature/v1), or 1 (Ed25519), which then stands for the other; its hash must be
// right.
func NewVerifier(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != 33 || key[0] != typeEd25519 && key[0] != typeCosignature {
		return nil, fmt.Errorf("witness key %.64q is not NAME+HASH+KEY with an Ed25519 key", vkey)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	if n, err := strconv.ParseUint(hash, 16, 32); err != nil || len(hash) != 8 || uint32(n) != binary.BigEndian.Uint32(sum[:]) {
		return nil, fmt.Errorf("witness key %.64q: its hash %.8q is not that of the key: was it copied in full?", name, hash)
	}
	v, err := formats.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return nil, fmt.Errorf("witness key %.64q: %w", name, err)
	}
	return v, nil
}

// NewSigner reads a witness's private key "PRIVATE+KEY+name+hash+key".
func NewSigner(skey string) (note.Signer, error) {
	s, err := formats.NewSignerForCosignatureV1(skey)
	if err != nil {
		return nil, errors.New("not a private key of a witness: PRIVATE+KEY+NAME+HASH+KEY")
	}
	return s, nil
}

// GenerateKey makes a witness's key pair: a name without spaces and "+", such as
// "witness.example/w1".
func GenerateKey(name string) (skey, vkey string, err error) {
	skey, vkey, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", err
	}
	if _, err := note.NewVerifier(vkey); err != nil || len(name) > 255 {
		return "", "", fmt.Errorf("%.64q is not a name of 1 to 255 octets without spaces and \"+\"", name)
	}
	vkey, err = formats.VKeyToCosignatureV1(vkey)
	return skey, vkey, err
}

// VerifierKey is the verifier key of a witness's private key.
func VerifierKey(skey string) (string, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return "", errors.New("not a private key of a witness: PRIVATE+KEY+NAME+HASH+KEY")
	}
	parts := strings.SplitN(skey, "+", 5)
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 33 {
		return "", errors.New("not an Ed25519 key")
	}
	vkey, err := publicOf(signer.Name(), seed[1:])
	if err != nil {
		return "", err
	}
	return formats.VKeyToCosignatureV1(vkey)
}

// publicOf is the verifier key of an Ed25519 seed.
func publicOf(name string, seed []byte) (string, error) {
	return note.NewEd25519VerifierKey(name, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}
