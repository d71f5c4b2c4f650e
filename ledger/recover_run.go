package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// restoreUnit is how many commands a unit of a recovery gathers.
const restoreUnit = 500

// recovering is the record of a recovery that has not ended: uint64 entries that
// there were at its begin; uint64 epoch that it has opened, or 0.
func recovering(start, opened uint64) storage.PutRecord {
	body := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, start), opened)
	return storage.PutRecord{Collection: epochCollection, ID: epochRecovering, IfVersion: storage.AnyVersion, Body: body}
}

func parseRecovering(body []byte) (start, opened uint64, err error) {
	if len(body) != 16 {
		return 0, 0, errors.New("not two numbers")
	}
	return binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:]), nil
}

// Follower is what the ledger's rooms know of entries that come back.
type Follower interface {
	// Back takes up an entry that comes back, in the ledger's order. Its commands
	// stand or fall with the entry. If it is there already, because an earlier run
	// of the recovery was ended, its commands are not used.
	Back(ctx context.Context, index uint64, e entry.Entry, body entry.Body, there bool) ([]storage.Command, error)
	// Last is what is to be done when all are back; it may be done twice.
	Last(ctx context.Context) ([]storage.Command, error)
}

// Run carries the plan out. Whenever it is ended, the server refuses to start and
// another recovery goes on where it was.
func (r *Recovery) Run(ctx context.Context, f Follower, progress func(done, total uint64)) error {
	for _, step := range []func() error{
		func() error { return prepareLock(r.config.Lock) },
		func() error { return r.there(ctx, f) },
		func() error { return r.restore(ctx, f, progress) },
		func() error { return r.begin(ctx) },
		func() error { return r.finish(ctx, f) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}

// there shows the follower what an earlier run has brought back.
func (r *Recovery) there(ctx context.Context, f Follower) error {
	for index := r.Start; index < min(r.Have, r.Until); {
		raws, err := r.config.Store.Entries(ctx, index, batch)
		if err != nil {
			return err
		}
		if len(raws) == 0 {
			return fmt.Errorf("entry %d is missing", index)
		}
		for _, raw := range raws[:min(uint64(len(raws)), r.Until-index)] {
			if _, err := r.back(ctx, index, raw, f, true); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			index++
		}
	}
	return nil
}

// restore takes back what the copy has.
func (r *Recovery) restore(ctx context.Context, f Follower, progress func(done, total uint64)) error {
	unit := storage.Unit{}
	if !r.begun {
		unit = append(unit, recovering(r.Start, 0))
	}
	for index := r.Have; index < r.Until; index++ {
		raw, err := r.folder.Entry(index)
		if err != nil {
			return err
		}
		commands, err := r.back(ctx, index, raw, f, false)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		unit = append(unit, commands...)
		if len(unit) >= restoreUnit {
			if err := r.commit(ctx, unit); err != nil {
				return err
			}
			unit = storage.Unit{}
			progress(index+1-r.Start, r.Until-r.Start)
		}
	}
	return r.commit(ctx, unit)
}

// commit does a unit, if there is anything in it.
func (r *Recovery) commit(ctx context.Context, unit storage.Unit) error {
	if len(unit) == 0 {
		return nil
	}
	_, err := r.config.Store.Commit(ctx, unit)
	return err
}

// back is an entry with what belongs to it.
func (r *Recovery) back(ctx context.Context, index uint64, raw []byte, f Follower, there bool) ([]storage.Command, error) {
	e, err := entry.Parse(raw)
	if err != nil {
		return nil, err
	}
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		return nil, err
	}
	command := storage.RestoreEntry{Raw: raw}
	var own []storage.Command
	switch b := body.(type) {
	case entry.Intent:
		if shard, ok := shardOf(b.TBS); ok && shard <= 1<<16-1 {
			command.CRLShard = uint16(shard)
		}
	case entry.Origin:
		number, ok := epochOf(r.config.Origin, b.Origin)
		if !ok {
			return nil, fmt.Errorf("its origin %q is no epoch's", b.Origin)
		}
		own = append(own, putEpoch(Epoch{Number: number, Index: index}))
		drop, err := r.dropStored(ctx)
		if err != nil {
			return nil, err
		}
		own = append(own, drop...)
	}
	more, err := f.Back(ctx, index, e, body, there)
	return append(append([]storage.Command{command}, own...), more...), err
}

// dropStored takes the stored checkpoint away, which is of the epoch before.
func (r *Recovery) dropStored(ctx context.Context) ([]storage.Command, error) {
	_, err := r.config.Store.Record(ctx, collection, latest)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return []storage.Command{storage.DeleteRecord{Collection: collection, ID: latest, IfVersion: storage.AnyVersion}}, err
}

// begin opens the new epoch, if there has to be one: its genesis is the first entry
// that the old epoch does not have.
func (r *Recovery) begin(ctx context.Context) error {
	if r.Epoch == 0 {
		// The last-seen file is written before the recovery has ended, so that it can
		// go on if that fails.
		head, err := r.config.Store.Head(ctx)
		if err != nil || head.Size != r.Until {
			return err
		}
		return r.checkpoint(ctx)
	}
	if !r.opened {
		first, err := genesisAt(ctx, r.config.Store, 0)
		if err != nil {
			return err
		}
		d, err := entry.Origin{
			Origin: EpochOrigin(r.config.Origin, r.Epoch), Certificates: first.Certificates, Previous: r.Seen.Note,
		}.Draft(r.config.Actor)
		if err != nil {
			return err
		}
		drop, err := r.dropStored(ctx)
		if err != nil {
			return err
		}
		unit := storage.Unit{storage.AppendEntry{Entry: d}, putEpoch(Epoch{Number: r.Epoch, Index: r.Until}), recovering(r.Start, r.Epoch)}
		if err := r.commit(ctx, append(unit, drop...)); err != nil {
			return err
		}
	}
	return r.checkpoint(ctx)
}

// finish lets the rooms say what they have to say, enters the recovery into the
// ledger, and signs a checkpoint of it all.
func (r *Recovery) finish(ctx context.Context, f Follower) error {
	last, err := f.Last(ctx)
	if err != nil {
		return err
	}
	for len(last) > 0 {
		n := min(len(last), restoreUnit)
		if err := r.commit(ctx, last[:n]); err != nil {
			return err
		}
		last = last[n:]
	}
	d, err := entry.Action{
		Action: "ledger.recovered", Target: r.config.Origin,
		Detail: fmt.Sprintf("entries=%d taken-back=%d lost=%d", r.Start, r.Taken(), r.Lost()),
	}.Draft(r.config.Actor)
	if err != nil {
		return err
	}
	err = r.commit(ctx, storage.Unit{
		storage.AppendEntry{Entry: d},
		storage.DeleteRecord{Collection: epochCollection, ID: epochRecovering, IfVersion: storage.AnyVersion},
	})
	if err != nil {
		return err
	}
	return r.checkpoint(ctx)
}

// checkpoint signs what is there, and writes the last-seen file.
func (r *Recovery) checkpoint(ctx context.Context) error {
	c := r.config
	_, err := Open(ctx, Config{
		Store: c.Store, Origin: c.Origin, Signer: c.Signer, Lock: c.Lock, MissingLock: WarnMissing, Logger: c.Logger, recovering: true,
	})
	return err
}
