// Package secret is bearer secrets that this CA makes: 256 random bits behind an
// ID that is none, with a prefix that secret scanners find. Who keeps one keeps its
// SHA-256.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

const (
	idSize   = 16
	size     = 32
	textSize = 64 // of 48 octets in base64
)

// ID names a secret and is none: 6 octets of the complement of its Unix
// milliseconds, so that the storage's order by ID is newest first, and 10 octets
// from the CSPRNG.
type ID [idSize]byte

// NewID makes an ID.
func NewID(now time.Time) ID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], ^uint64(now.UnixMilli()))
	var i ID
	copy(i[:6], ms[2:])
	_, _ = rand.Read(i[6:]) // never fails
	return i
}

// String is 32 lower-case hexadecimal digits.
func (i ID) String() string { return hex.EncodeToString(i[:]) }

// ParseID reads what String writes.
func ParseID(s string) (ID, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != idSize || strings.ToLower(s) != s {
		return ID{}, false
	}
	return ID(raw), true
}

// Secret is what the holder knows: 256 bits of the CSPRNG.
type Secret [size]byte

// New makes a secret.
func New() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// Hash is what a store keeps of the secret. A plain hash is enough: nobody
// guesses 256 random bits.
func (s Secret) Hash() [32]byte { return sha256.Sum256(s[:]) }

// Text is the secret as its holder gets it: the prefix, such as "cwt_", and the
// base64url (RFC 4648 §5, no padding) of ID and secret.
func Text(prefix string, i ID, s Secret) string {
	raw := append(i[:], s[:]...)
	return prefix + base64.RawURLEncoding.EncodeToString(raw)
}

var errForm = errors.New("it is not its prefix and 64 characters of base64url")

// Parse reads the text of a secret with the prefix. Each has exactly one text.
func Parse(prefix, s string) (ID, Secret, error) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != textSize {
		return ID{}, Secret{}, errForm
	}
	// The decoder skips line ends; the length of the result shows them.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(raw) != idSize+size {
		return ID{}, Secret{}, errForm
	}
	return ID(raw[:idSize]), Secret(raw[idSize:]), nil
}
