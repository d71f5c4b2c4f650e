package token

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Restorer follows a recovery of the ledger. Tokens that were made or revoked in
// entries that come back are lost: what they were stands in no entry, and a token
// that was revoked must not live on. If entries stay lost, nobody knows which tokens
// they revoked: then all are lost. Certificates that come back count as uses.
type Restorer struct {
	store storage.RecordReader
	lost  map[string]bool
	gone  map[string]bool // an earlier recovery lost them, and its entry comes back
}

// NewRestorer reads from the store into which entries come back.
func NewRestorer(store storage.RecordReader) *Restorer {
	return &Restorer{store: store, lost: map[string]bool{}, gone: map[string]bool{}}
}

// Back takes up an entry that comes back; raw is its encoding.
func (r *Restorer) Back(e entry.Entry, body entry.Body) ([]storage.Command, error) {
	switch b := body.(type) {
	case entry.Action:
		switch b.Action {
		case actionCreated, actionRevoked:
			r.lost[b.Target] = true
		case actionLost:
			r.gone[b.Target] = true
			delete(r.lost, b.Target)
		}
	case entry.Intent:
		id, ok := strings.CutPrefix(e.Actor, string(identity.Token)+":")
		if !ok {
			return nil, nil
		}
		use := useOf(id, b.RequestKey)
		if b.RequestKey == ([32]byte{}) {
			use = merkle.LeafHash(b.TBS) // any value that stands for this one
		}
		return []storage.Command{storage.UseToken{ID: id, For: use, Max: math.MaxUint32}}, nil
	}
	return nil, nil
}

// Last takes the lost tokens away and says so in the ledger, in the name of actor;
// all of them if entries stay lost.
func (r *Restorer) Last(ctx context.Context, actor string, all bool) ([]storage.Command, error) {
	if all {
		if err := r.loseAll(ctx); err != nil {
			return nil, err
		}
	}
	var out []storage.Command
	for _, id := range slices.Sorted(maps.Keys(r.lost)) {
		d, err := entry.Action{Action: actionLost, Target: id}.Draft(actor)
		if err != nil {
			return nil, err
		}
		out = append(out, storage.AppendEntry{Entry: d})
	}
	for _, ids := range []map[string]bool{r.lost, r.gone} {
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			switch _, err := r.store.Record(ctx, collection, id); {
			case err == nil:
				out = append(out, storage.DeleteRecord{Collection: collection, ID: id, IfVersion: storage.AnyVersion})
			case !errors.Is(err, storage.ErrNotFound):
				return nil, err
			}
		}
	}
	return out, nil
}

// loseAll counts every stored token as lost.
func (r *Restorer) loseAll(ctx context.Context) error {
	var after []byte
	for {
		page, err := r.store.Records(ctx, collection, "", "", after, 500)
		if err != nil {
			return err
		}
		for _, stored := range page.Records {
			if !r.gone[stored.ID] {
				r.lost[stored.ID] = true
			}
		}
		if after = page.Next; after == nil {
			return nil
		}
	}
}

// Lost is how many tokens were lost.
func (r *Restorer) Lost() int { return len(r.lost) }
