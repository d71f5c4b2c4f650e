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

func parseStart(body []byte) (uint64, error) {
	if len(body) != 8 {
		return 0, errors.New("not a number")
	}
	return binary.BigEndian.Uint64(body), nil
}

// Restore takes back what the copy has, entry by entry, and with each what follow
// says that belongs to it: records the ledger's rooms keep. It can be ended at any
// point and called again by another Recovery.
func (r *Recovery) Restore(ctx context.Context, progress func(done, total uint64), follow func(index uint64, e entry.Entry, body entry.Body) ([]storage.Command, error)) error {
	unit := storage.Unit{}
	if !r.begun {
		unit = append(unit, storage.PutRecord{
			Collection: epochCollection, ID: epochRecovering, Body: binary.BigEndian.AppendUint64(nil, r.Start),
		})
	}
	for index := r.Have; index < r.Until; index++ {
		raw, err := r.folder.Entry(index)
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		commands, err := r.restored(index, raw, follow)
		if err != nil {
			return fmt.Errorf("ledger: entry %d: %w", index, err)
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
	if len(unit) == 0 {
		return nil
	}
	return r.commit(ctx, unit)
}

func (r *Recovery) commit(ctx context.Context, unit storage.Unit) error {
	if _, err := r.config.Store.Commit(ctx, unit); err != nil {
		return fmt.Errorf("ledger: take back entries: %w", err)
	}
	r.begun = true
	return nil
}

// restored is an entry with what belongs to it.
func (r *Recovery) restored(index uint64, raw []byte, follow func(uint64, entry.Entry, entry.Body) ([]storage.Command, error)) ([]storage.Command, error) {
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
	}
	more, err := follow(index, e, body)
	return append(append([]storage.Command{command}, own...), more...), err
}

// Finish ends a recovery: after the entries that came back stands what the rooms
// have to say (units that carry entries of their own or none), then, if entries
// stay lost, the genesis of the new epoch; and the last-seen file is written anew.
func (r *Recovery) Finish(ctx context.Context, last storage.Unit) error {
	c := r.config
	if r.Epoch > 0 {
		if err := r.begin(ctx); err != nil {
			return fmt.Errorf("ledger: open epoch %d: %w", r.Epoch, err)
		}
	}
	d, err := entry.Action{
		Action: "ledger.recovered", Target: c.Origin,
		Detail: fmt.Sprintf("entries=%d taken-back=%d lost=%d", r.Start, r.Taken(), r.Lost()),
	}.Draft(c.Actor)
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
	err = r.commit(ctx, storage.Unit{
		storage.AppendEntry{Entry: d},
		storage.DeleteRecord{Collection: epochCollection, ID: epochRecovering, IfVersion: storage.AnyVersion},
	})
	if err != nil {
		return err
	}
	_, err = Open(ctx, Config{Store: c.Store, Origin: c.Origin, Signer: c.Signer, Lock: c.Lock, MissingLock: r.withoutLock(), Logger: c.Logger})
	return err
}

// begin appends the genesis of the new epoch. The stored checkpoint is of the epoch
// before: it goes, and what the genesis names takes its place.
func (r *Recovery) begin(ctx context.Context) error {
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
	unit := storage.Unit{storage.AppendEntry{Entry: d}, putEpoch(Epoch{Number: r.Epoch, Index: r.Until})}
	switch _, err := r.config.Store.Record(ctx, collection, latest); {
	case err == nil:
		unit = append(unit, storage.DeleteRecord{Collection: collection, ID: latest, IfVersion: storage.AnyVersion})
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	_, err = r.config.Store.Commit(ctx, unit)
	return err
}
