package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const helpBehind = "put back the newest copy of the database; if there is none, \"certwright ledger recover\" goes on from this one and says what is lost"

// lastSeen reads the last-seen file; without a note if there is none. It is without
// a note, but with an origin, for a recovery if it is still that of the epoch before and
// nothing follows the genesis of this one, which the recovery has just written.
func (l *Log) lastSeen(ctx context.Context) (Checkpoint, error) {
	switch _, err := l.config.Store.Record(ctx, epochCollection, epochRecovering); {
	case err == nil && !l.config.recovering:
		return Checkpoint{}, &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "LEDGER_RECOVERING",
			Detail: "a recovery of the ledger was begun and has not ended", Help: "run \"certwright ledger recover\" again: it goes on where it was",
		}
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return Checkpoint{}, err
	}
	lock, err := readLock(l.config.Lock, l.signer.verifierKey)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	data, readErr := plainfile.Read(l.config.Lock, maxCheckpoint)
	if readErr != nil {
		return lock, refused(err, "let the server read the last-seen file")
	}
	if l.config.recovering && l.begun(ctx, data) {
		return Checkpoint{Origin: l.config.Origin}, nil
	}
	cp, number, ok := anyEpoch(data, l.config.Origin, l.signer.verifierKey)
	switch {
	case ok && number > l.epoch.Number:
		return lock, &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "LEDGER_BEHIND",
			Detail: fmt.Sprintf("the ledger is in epoch %d, but the last-seen file %s has seen epoch %d with %d entries: the database is an older copy",
				l.epoch.Number, l.config.Lock, number, cp.Size),
			Help: helpBehind,
		}
	case ok && number < l.epoch.Number: // whoever can write the database can write a genesis
		return lock, &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "LEDGER_EPOCH",
			Detail: fmt.Sprintf("the database says that epoch %d has begun, but the last-seen file %s has seen epoch %d with %d entries: no recovery on this server has begun it",
				l.epoch.Number, l.config.Lock, number, cp.Size),
			Help: "put back the newest last-seen file, or the database that this server has written",
		}
	}
	return lock, refused(err, "the ledger's checkpoint key and origin must stay the same, and the last-seen file as it was written")
}

// begun tells whether a last-seen file is the checkpoint that this epoch's genesis
// names, and nothing follows the genesis.
func (l *Log) begun(ctx context.Context, lock []byte) bool {
	head, err := l.config.Store.Head(ctx)
	if err != nil || l.epoch.Number < 2 || head.Size != l.epoch.Index+1 {
		return false
	}
	o, err := genesisAt(ctx, l.config.Store, l.epoch.Index)
	return err == nil && bytes.Equal(o.Previous, lock)
}

// anyEpoch reads a checkpoint of any epoch of the ledger whose first origin is
// given. verifierKey is that of one of its epochs.
func anyEpoch(signed []byte, first, verifierKey string) (Checkpoint, uint64, bool) {
	cp, err := ParseCheckpoint(signed, "")
	if err != nil {
		return cp, 0, false
	}
	number, ok := epochOf(first, cp.Origin)
	if !ok {
		return cp, 0, false
	}
	key, err := renamed(verifierKey, cp.Origin)
	if err != nil {
		return cp, 0, false
	}
	cp, err = ParseCheckpoint(signed, key)
	return cp, number, err == nil
}
