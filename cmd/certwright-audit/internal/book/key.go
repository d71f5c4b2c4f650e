package book

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key is the verifier key of one epoch of a ledger. All epochs have the same public
// key, each under its own name (docs/ledger.md, Epochs): so it is a key of all.
type Key struct {
	note.Verifier
	public ed25519.PublicKey
}

// ParseKey reads "NAME+HASH+KEY".
func ParseKey(text string) (Key, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return Key{}, err
	}
	parts := strings.SplitN(text, "+", 3) // base64 may have a "+" of its own
	data, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(data) != 1+ed25519.PublicKeySize {
		return Key{}, errors.New("it is not of an Ed25519 key")
	}
	return Key{v, ed25519.PublicKey(data[1:])}, nil
}

// of is the verifier of an epoch of the key's ledger; false: the origin is another
// ledger's.
func (k Key) of(origin string) (note.Verifier, bool) {
	if k.Name() == origin {
		return k.Verifier, true
	}
	own, _ := epochOf(k.Name())
	if ledger, _ := epochOf(origin); ledger != own {
		return nil, false
	}
	text, err := note.NewEd25519VerifierKey(origin, k.public)
	if err != nil {
		return nil, false
	}
	v, err := note.NewVerifier(text)
	return v, err == nil
}

const epochMark = "/epoch-"

// epochOf takes an origin apart: that of the ledger's first epoch, and the epoch's
// number.
func epochOf(origin string) (ledger string, epoch uint64) {
	at := strings.LastIndex(origin, epochMark)
	if at <= 0 {
		return origin, 1
	}
	text := origin[at+len(epochMark):]
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n < 2 || strconv.FormatUint(n, 10) != text {
		return origin, 1
	}
	return origin[:at], n
}

// originOf is the reverse of epochOf.
func originOf(ledger string, epoch uint64) string {
	if epoch <= 1 {
		return ledger
	}
	return fmt.Sprintf("%s%s%d", ledger, epochMark, epoch)
}
