package token

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

// Prefix begins every token's text, so that secret scanners can find them.
const Prefix = "cwt_"

const (
	idSize     = 16
	secretSize = 32
	textSize   = 64 // of 48 octets in base64
)

// id names a token and is no secret: 6 octets of the complement of its Unix
// milliseconds, so that the storage's order by ID is newest first, and 10 octets
// from the CSPRNG.
type id [idSize]byte

func newID(now time.Time) id {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], ^uint64(now.UnixMilli()))
	var i id
	copy(i[:6], ms[2:])
	_, _ = rand.Read(i[6:]) // never fails
	return i
}

func (i id) String() string { return hex.EncodeToString(i[:]) }

// secret is what a token's holder knows: 256 bits of the CSPRNG.
type secret [secretSize]byte

func newSecret() secret {
	var s secret
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// hash is what the store keeps of the secret. A plain hash is enough: nobody
// guesses 256 random bits.
func (s secret) hash() [32]byte { return sha256.Sum256(s[:]) }

// text is the token as its holder gets it: "cwt_" and the base64url (RFC 4648
// §5, no padding) of ID and secret.
func text(i id, s secret) string {
	raw := append(i[:], s[:]...)
	return Prefix + base64.RawURLEncoding.EncodeToString(raw)
}

var errForm = errors.New("not a join token: cwt_ and 64 characters of base64url are expected")

// parse reads a token's text. Each token has exactly one text.
func parse(s string) (id, secret, error) {
	rest, ok := strings.CutPrefix(s, Prefix)
	if !ok || len(rest) != textSize {
		return id{}, secret{}, errForm
	}
	// The decoder skips line ends; the length of the result shows them.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(raw) != idSize+secretSize {
		return id{}, secret{}, errForm
	}
	return id(raw[:idSize]), secret(raw[idSize:]), nil
}

// parseID reads a token's ID: 32 lower-case hexadecimal digits.
func parseID(s string) (id, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != idSize || strings.ToLower(s) != s {
		return id{}, false
	}
	return id(raw), true
}
