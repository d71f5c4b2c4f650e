package book

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/merkle"
)

// Checkpoint is a signed statement of a tree (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Ledger string // the origin of its first epoch
	Epoch  uint64 // from 1
	Size   uint64
	Root   [merkle.HashSize]byte
	Note   []byte // the signed note, verbatim
}

// String is size and root in short.
func (c Checkpoint) String() string {
	if c.Epoch > 1 {
		return fmt.Sprintf("%d entries of epoch %d, root %x", c.Size, c.Epoch, c.Root[:8])
	}
	return fmt.Sprintf("%d entries, root %x", c.Size, c.Root[:8])
}

// MaxCheckpoint is the most that is read of a checkpoint, in octets: its lines and
// those of a hundred signatures.
const MaxCheckpoint = 32 << 10

// maxOrigin is the length of a log's name.
const maxOrigin = 255

// errForged is a note without a signature of the log.
var errForged = errors.New("it has no signature of the log")

// Open reads a signed note: it must be a checkpoint, and have the signature of one
// of the keys, under the name of the checkpoint's own epoch. Signatures by other keys
// are let be.
func Open(signed []byte, keys []Key) (Checkpoint, error) {
	peeked, err := Peek(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	var verifiers []note.Verifier
	for _, key := range keys {
		if v, ok := key.of(peeked.Origin); ok {
			verifiers = append(verifiers, v)
		}
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified), errors.As(err, &invalid):
		return Checkpoint{}, fmt.Errorf("the checkpoint of %.64q is not to be trusted: %w", peeked.Origin, errForged)
	case err != nil:
		return Checkpoint{}, errors.New("the checkpoint is not a signed note")
	}
	cp, err := parseText(n.Text) // as it was signed
	if err == nil && cp.Origin != peeked.Origin {
		err = errors.New("the checkpoint has an empty line")
	}
	cp.Note = peeked.Note
	return cp, err
}

// Forged tells whether err says that a checkpoint is not signed by the log.
func Forged(err error) bool { return errors.Is(err, errForged) }

// Peek reads the origin, size and root of a note without looking at its
// signatures.
func Peek(signed []byte) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("the checkpoint has more than %d octets", MaxCheckpoint)
	}
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return Checkpoint{}, errors.New("the checkpoint is not a signed note")
	}
	cp, err := parseText(text + "\n")
	cp.Note = append([]byte(nil), signed...)
	return cp, err
}

// parseText reads origin, size and root; lines that follow are extensions.
func parseText(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" || lines[0] == "" || len(lines[0]) > maxOrigin {
		return Checkpoint{}, errors.New("the checkpoint has not three lines: origin, size, root")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || size > merkle.MaxSize || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("the checkpoint's size %.32q is not a decimal number", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != merkle.HashSize {
		return Checkpoint{}, fmt.Errorf("the checkpoint's root %.64q is not 32 octets of base64", lines[2])
	}
	for _, extension := range lines[3 : len(lines)-1] {
		if extension == "" {
			return Checkpoint{}, errors.New("the checkpoint has an empty line")
		}
	}
	ledger, epoch := epochOf(lines[0])
	return Checkpoint{Origin: lines[0], Ledger: ledger, Epoch: epoch, Size: size, Root: [merkle.HashSize]byte(root)}, nil
}

// Cosigned counts the witnesses that have cosigned the note, each once.
func Cosigned(signed []byte, witnesses []note.Verifier) int {
	n, err := note.Open(signed, note.VerifierList(witnesses...))
	if err != nil {
		return 0
	}
	return len(n.Sigs) // note.Open takes one signature of each key
}
