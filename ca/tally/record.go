package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/certwright/certwright/storage"
)

// Where the count stands in the store.
const (
	collection = "tally"
	id         = "certificates"
)

// record is the count as it is stored.
type record struct {
	Count
	Size  uint64 // entries that are counted
	Ended bool   // by a run that signs no more
}

// body is its JSON.
type body struct {
	Size       uint64 `json:"size"`
	Signatures uint64 `json:"signatures"`
	Intents    uint64 `json:"intents"`
	Abandoned  uint64 `json:"abandoned"`
	Uncounted  uint64 `json:"uncounted"`
	Missing    uint64 `json:"missing"`
	Ended      bool   `json:"ended"`
}

func read(ctx context.Context, store storage.RecordReader) (record, uint64, error) {
	stored, err := store.Record(ctx, collection, id)
	if errors.Is(err, storage.ErrNotFound) {
		return record{}, 0, nil
	}
	if err != nil {
		return record{}, 0, err
	}
	var b body
	if err := json.Unmarshal(stored.Body, &b); err != nil {
		return record{}, 0, fmt.Errorf("the stored count: %w", err)
	}
	return record{
		Count: Count{Signatures: b.Signatures, Intents: b.Intents, Abandoned: b.Abandoned, Uncounted: b.Uncounted, Missing: b.Missing},
		Size:  b.Size, Ended: b.Ended,
	}, stored.Version, nil
}

// writeOff takes out of the count what a run that was killed may have signed
// after its last count. What was missing before stays missing.
func (r *record) writeOff() {
	if open := missing(r.Intents, r.Abandoned, r.Signatures); open > r.Missing {
		r.Intents -= open - r.Missing
		r.Uncounted += open - r.Missing
	}
}

// save stores the count, if it is another than the stored one.
func (t *Tally) save(ctx context.Context, ended bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.now
	next.Ended = ended
	stored, version, err := read(ctx, t.config.Store)
	if err != nil {
		return err
	}
	// Nobody else writes it: another version is of a commit whose outcome was not heard of.
	if t.version = version; stored == next {
		return nil
	}
	data, err := json.Marshal(body{
		Size: next.Size, Signatures: next.Signatures, Intents: next.Intents, Abandoned: next.Abandoned,
		Uncounted: next.Uncounted, Missing: next.Missing, Ended: ended,
	})
	if err != nil {
		return err
	}
	if _, err := t.config.Store.Commit(ctx, storage.Unit{storage.PutRecord{Collection: collection, ID: id, IfVersion: t.version, Body: data}}); err != nil {
		return err
	}
	t.version++
	return nil
}
