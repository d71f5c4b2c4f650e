package ledger

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Where the newest epoch stands in the store: uint64 number, uint64 index of its
// genesis; and, while entries are taken back, where that has begun: uint64 index.
const (
	epochCollection = "epoch"
	epochRecovering = "recovering"
)

// Epoch is one history of a ledger, from its genesis on (docs/ledger.md, Epochs).
type Epoch struct {
	Number uint64 // from 1
	Index  uint64 // of its genesis
}

// EpochOrigin is the origin of an epoch of the ledger whose first origin is given.
func EpochOrigin(first string, epoch uint64) string {
	if epoch <= 1 {
		return first
	}
	return first + epochMark + strconv.FormatUint(epoch, 10)
}

const epochMark = "/epoch-"

// epochOf is the epoch of an origin, of the ledger whose first origin is given;
// false: it is another ledger's.
func epochOf(first, origin string) (uint64, bool) {
	if origin == first {
		return 1, true
	}
	text, ok := strings.CutPrefix(origin, first+epochMark)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return n, err == nil && n >= 2 && strconv.FormatUint(n, 10) == text
}

// SplitOrigin takes the origin of an epoch apart: that of the ledger's first epoch, and
// the number. It is the reverse of EpochOrigin.
func SplitOrigin(origin string) (first string, epoch uint64) {
	if at := strings.LastIndex(origin, epochMark); at > 0 {
		if n, ok := epochOf(origin[:at], origin); ok {
			return origin[:at], n
		}
	}
	return origin, 1
}

// ParseAnyEpoch is ParseCheckpoint with the verifier key of any epoch of the ledger:
// all have the same public key.
func ParseAnyEpoch(signed []byte, verifierKey string) (Checkpoint, error) {
	name, _, _ := strings.Cut(verifierKey, "+")
	first, _ := SplitOrigin(name)
	if cp, err := ParseCheckpoint(signed, ""); err == nil && verifierKey != "" && cp.Origin != name {
		if _, ok := epochOf(first, cp.Origin); ok {
			if verifierKey, err = renamed(verifierKey, cp.Origin); err != nil {
				return Checkpoint{}, err
			}
		}
	}
	return ParseCheckpoint(signed, verifierKey)
}

// CurrentEpoch is the store's newest epoch.
func CurrentEpoch(ctx context.Context, s storage.RecordReader) (Epoch, error) {
	r, err := s.Record(ctx, epochCollection, latest)
	if errors.Is(err, storage.ErrNotFound) {
		return Epoch{Number: 1}, nil
	}
	if err != nil {
		return Epoch{}, fmt.Errorf("read the epoch: %w", err)
	}
	if len(r.Body) != 16 {
		return Epoch{}, errors.New("the record of the epoch cannot be read")
	}
	e := Epoch{Number: binary.BigEndian.Uint64(r.Body), Index: binary.BigEndian.Uint64(r.Body[8:])}
	if e.Number < 2 || e.Index == 0 || e.Index != r.Entry {
		return Epoch{}, fmt.Errorf("the record of the epoch says epoch %d at entry %d", e.Number, e.Index)
	}
	return e, nil
}

// CurrentVerifierKey is the verifier key of the newest epoch's checkpoints, of the
// ledger whose first origin is given.
func CurrentVerifierKey(ctx context.Context, s storage.RecordReader, first string, public crypto.PublicKey) (string, error) {
	e, err := CurrentEpoch(ctx, s)
	if err != nil {
		return "", err
	}
	return VerifierKey(EpochOrigin(first, e.Number), public)
}

func putEpoch(e Epoch) storage.PutRecord {
	body := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.Number), e.Index)
	return storage.PutRecord{Collection: epochCollection, ID: latest, IfVersion: storage.AnyVersion, Body: body, WithEntry: true}
}

// renamed is a verifier key with the same public key, of another origin.
func renamed(verifierKey, origin string) (string, error) {
	if _, err := note.NewVerifier(verifierKey); err != nil {
		return "", fmt.Errorf("verifier key: %w", err)
	}
	parts := strings.SplitN(verifierKey, "+", 3) // base64 may have a "+" of its own
	data, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(data) != 1+ed25519.PublicKeySize {
		return "", errors.New("verifier key: not of an Ed25519 key")
	}
	return VerifierKey(origin, ed25519.PublicKey(data[1:]))
}

// genesisAt reads the genesis of an epoch.
func genesisAt(ctx context.Context, s storage.LedgerReader, index uint64) (entry.Origin, error) {
	raws, err := s.Entries(ctx, index, 1)
	if err != nil {
		return entry.Origin{}, fmt.Errorf("read the genesis: %w", err)
	}
	if len(raws) == 0 {
		return entry.Origin{}, fmt.Errorf("entry %d is missing", index)
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		return entry.Origin{}, fmt.Errorf("entry %d: %w", index, err)
	}
	o, err := entry.ParseGenesis(e.Draft)
	if err != nil {
		return entry.Origin{}, fmt.Errorf("entry %d: %w", index, err)
	}
	return o, nil
}

// Epochs checks each genesis in the order of the entries.
type Epochs struct {
	first       string // origin
	last        Epoch
	previous    Checkpoint // the last of the epoch before
	verifierKey string
}

// NewEpochs checks with the verifier key of any epoch; empty: signatures are not
// checked.
func NewEpochs(verifierKey string) *Epochs { return &Epochs{verifierKey: verifierKey} }

// Last is the newest epoch that was taken, and the checkpoint of the epoch before
// that its genesis names; without a Note in the first.
func (c *Epochs) Last() (Epoch, Checkpoint) { return c.last, c.previous }

// Take checks a genesis and takes it up.
func (c *Epochs) Take(index uint64, o entry.Origin) error {
	if index == 0 {
		c.first, c.last = o.Origin, Epoch{Number: 1}
		if len(o.Previous) > 0 {
			return errors.New("the first genesis names a checkpoint before it")
		}
		return nil
	}
	n, ok := epochOf(c.first, o.Origin)
	if !ok || n <= c.last.Number {
		return fmt.Errorf("its origin %q is that of no epoch after epoch %d of %q", o.Origin, c.last.Number, c.first)
	}
	key := ""
	if c.verifierKey != "" {
		var err error
		if key, err = renamed(c.verifierKey, EpochOrigin(c.first, n-1)); err != nil {
			return err
		}
	}
	cp, err := ParseCheckpoint(o.Previous, key)
	switch {
	case err != nil:
		return fmt.Errorf("the checkpoint of the epoch before does not hold: %w", err)
	case cp.Origin != EpochOrigin(c.first, n-1):
		return fmt.Errorf("the checkpoint before it is of origin %q, not of epoch %d", cp.Origin, n-1)
	case cp.Size <= index:
		return fmt.Errorf("the checkpoint before it covers %d entries: nothing was lost, and no epoch had to begin", cp.Size)
	}
	c.last, c.previous = Epoch{Number: n, Index: index}, cp
	return nil
}
