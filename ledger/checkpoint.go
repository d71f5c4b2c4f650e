package ledger

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
)

// MaxNote is the size of the largest checkpoint that is read, in octets: room for
// the signatures of many witnesses.
const MaxNote = 64 << 10

// Checkpoint is a signed statement of the tree at one size (C2SP
// tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64    // number of entries
	Root   [32]byte  // RFC 6962 §2.1 tree hash at Size
	Time   time.Time // when it was signed; not part of what is signed, zero if not known
	Note   []byte    // the signed note, verbatim
}

// VerifierKey is the note verifier key ("name+hash+key") of the checkpoints of
// an origin signed with an Ed25519 key. The key's name is the origin.
func VerifierKey(origin string, public crypto.PublicKey) (string, error) {
	key, ok := public.(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("checkpoints are signed with Ed25519, not with a %T", public)
	}
	vkey, err := note.NewEd25519VerifierKey(origin, key)
	if err != nil {
		return "", err
	}
	if _, err := note.NewVerifier(vkey); err != nil || len(origin) > 255 {
		return "", fmt.Errorf("origin %.64q is not a name of 1 to 255 octets without spaces and \"+\"", origin)
	}
	return vkey, nil
}

// CheckVerifierKey tells whether a text is a verifier key.
func CheckVerifierKey(vkey string) error {
	_, err := note.NewVerifier(vkey)
	return err
}

// ParseCheckpoint reads a signed note. The signature is checked with the
// verifier key, and the origin is the key's name; with an empty verifier key the
// form alone is checked. Signatures by other keys are let be.
func ParseCheckpoint(signed []byte, verifierKey string) (Checkpoint, error) {
	if len(signed) > MaxNote {
		return Checkpoint{}, fmt.Errorf("checkpoint of %d octets: at most %d are read", len(signed), MaxNote)
	}
	if verifierKey == "" {
		text, _, ok := strings.Cut(string(signed), "\n\n")
		if !ok {
			return Checkpoint{}, errors.New("checkpoint is not a signed note")
		}
		return parseBody(text+"\n", signed)
	}
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	cp, err := parseBody(n.Text, signed)
	if err == nil && cp.Origin != verifier.Name() {
		return Checkpoint{}, fmt.Errorf("checkpoint: origin %.64q is not the key's name %q", cp.Origin, verifier.Name())
	}
	return cp, err
}

// parseBody reads the three lines of a checkpoint without extensions.
func parseBody(text string, signed []byte) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return Checkpoint{}, errors.New("checkpoint has not three lines: origin, size, root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > merkle.MaxSize || lines[1] != strconv.FormatInt(size, 10) {
		return Checkpoint{}, fmt.Errorf("checkpoint: size %.32q is not a decimal number", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("checkpoint: root %.64q is not 32 octets of base64", lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: uint64(size), Root: [32]byte(root), Note: append([]byte(nil), signed...)}, nil
}

// signer signs checkpoints, and nothing else: it makes the text itself.
type signer struct {
	verifier    note.Verifier
	verifierKey string
	key         crypto.Signer
}

func newSigner(origin string, key crypto.Signer) (*signer, error) {
	if key == nil {
		return nil, errors.New("no key to sign checkpoints with")
	}
	vkey, err := VerifierKey(origin, key.Public())
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	return &signer{verifier: verifier, verifierKey: vkey, key: key}, nil
}

// sign makes the checkpoint of a tree and checks its signature once.
func (s *signer) sign(size uint64, root [32]byte) (Checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.verifier.Name(), size, tlog.Hash(root))
	signed, err := note.Sign(&note.Note{Text: text}, noteSigner{s})
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	return ParseCheckpoint(signed, s.verifierKey)
}

// noteSigner is the signer as the note package wants it.
type noteSigner struct{ *signer }

func (s noteSigner) Name() string    { return s.verifier.Name() }
func (s noteSigner) KeyHash() uint32 { return s.verifier.KeyHash() }
func (s noteSigner) Sign(msg []byte) ([]byte, error) {
	return s.key.Sign(rand.Reader, msg, crypto.Hash(0))
}
