package ledger

import (
	"context"
	"fmt"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// RecordCheck is what a room knows of the records that it keeps, so that Verify
// can match them with the entries they were written with: a record by itself has
// only a checksum, which anybody can compute. Verify reads, the check compares; a
// value is good for one Verify.
type RecordCheck interface {
	// Collections are the collections whose records the check is given.
	Collections() []string
	// Entry takes up an entry, in the ledger's order, and says what is wrong with
	// it in the light of those before.
	Entry(index uint64, e entry.Entry, body entry.Body) error
	// Record takes up a record of one of the collections.
	Record(collection string, r storage.Record)
	// Findings is what does not agree, once all is taken up. The first settled
	// entries were there before the first record was read, the others may have come
	// before or after it.
	Findings(settled uint64) []storage.Finding
}

// recordPage is how many records are read at once.
const recordPage = 200

// records is the pass that matches records with entries.
func (v *verification) records(ctx context.Context) error {
	if len(v.Records) == 0 || !v.walked {
		return nil // without all entries nothing can be said: what hides them is reported
	}
	var readable []RecordCheck
	for _, check := range v.Records {
		whole := true
		for _, collection := range check.Collections() {
			if err := v.collection(ctx, check, collection); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				whole = false
				v.wrong("record", storage.NoIndex, collection, "the records of %q cannot be read: %v", collection, err)
			}
		}
		if whole {
			readable = append(readable, check)
		}
	}
	if err := v.newer(ctx); err != nil {
		return err
	}
	for _, check := range readable {
		for _, f := range check.Findings(v.head.Size) {
			v.finding(f)
		}
	}
	return nil
}

// collection gives all records of a collection to a check.
func (v *verification) collection(ctx context.Context, check RecordCheck, name string) error {
	var after []byte
	for {
		page, err := v.Store.Records(ctx, name, "", "", after, recordPage)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			check.Record(name, r)
		}
		if after = page.Next; after == nil {
			return nil
		}
	}
}

// newer gives the entries to the checks that were written since the beginning:
// those of the newest records.
func (v *verification) newer(ctx context.Context) error {
	head, err := v.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	for next := v.head.Size; next < head.Size; {
		raws, err := v.Store.Entries(ctx, next, int(min(batch, head.Size-next)))
		if err != nil {
			return fmt.Errorf("read entry %d and on: %w", next, err)
		}
		if len(raws) == 0 {
			v.wrong("entry", next, "", "entry %d is missing", next)
			return nil
		}
		for _, raw := range raws {
			e, err := entry.Parse(raw)
			if err != nil {
				v.wrong("entry", next, "", "entry %d: %v", next, err)
			} else if body, err := entry.ParseBody(e.Draft); err != nil {
				v.wrong("entry", next, "", "entry %d: %v", next, err)
			} else {
				v.takeUp(next, e, body)
			}
			next++
		}
	}
	return nil
}

// takeUp gives a well-formed entry to every check.
func (v *verification) takeUp(index uint64, e entry.Entry, body entry.Body) {
	for _, check := range v.Records {
		if err := check.Entry(index, e, body); err != nil {
			v.wrong("entry", index, "", "entry %d: %v", index, err)
		}
	}
}
