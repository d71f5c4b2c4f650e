package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// maxEntryScan is how many entries are read for one page; maxEntryBytes is about
// how many octets of entries a page holds; entryBatch entries of the largest size
// are within what the store reads at once.
const (
	entryBatch    = 100
	maxEntryScan  = 10_000
	maxEntryBytes = 2 << 20
)

func entryFields() []filter.Field {
	kinds := make([]string, 0, len(certwrightv1.LedgerEntry_Kind_name))
	for n := entry.Genesis; n <= entry.SSHIntent; n++ {
		kinds = append(kinds, kindOf(n).String())
	}
	return []filter.Field{
		{Name: "index", Type: filter.Number},
		{Name: "kind", Type: filter.Text, Values: kinds},
		{Name: "time", Type: filter.Time},
		{Name: "actor", Type: filter.Text},
	}
}

// kindOf is the API's number of a kind: the ledger's plus one.
func kindOf(kind entry.Kind) certwrightv1.LedgerEntry_Kind {
	k := certwrightv1.LedgerEntry_Kind(kind + 1)
	if _, known := certwrightv1.LedgerEntry_Kind_name[int32(k)]; !known {
		return certwrightv1.LedgerEntry_KIND_UNSPECIFIED
	}
	return k
}

func entryMessage(index uint64, raw []byte) (*certwrightv1.LedgerEntry, error) {
	d, err := ledger.Describe(raw)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	leaf := merkle.LeafHash(raw)
	m := &certwrightv1.LedgerEntry{
		Index: index, Version: uint32(d.Version), Kind: kindOf(d.Kind), Time: timestamp(d.Time), Actor: strings.ToValidUTF8(d.Actor, "\uFFFD"),
		LeafHash: leaf[:], Data: raw, Fields: make(map[string]string, len(d.Fields)),
		Summary: clean(d.Summary), KindNumber: uint32(d.Kind),
	}
	for _, field := range d.Fields {
		m.Fields[field.Name] = strings.ToValidUTF8(field.Value, "\uFFFD")
	}
	return m, nil
}

// ListEntries implements certwright.v1.LedgerService.
func (s *ledgerService) ListEntries(ctx context.Context, in *certwrightv1.ListEntriesRequest) (*certwrightv1.ListEntriesResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	f, err := filter.Compile(in.GetFilter(), entryFields())
	if err != nil {
		return nil, err
	}
	w := entryWalk{service: s, filter: f, room: size}
	order := strings.Join(strings.Fields(strings.ToLower(in.GetOrderBy())), " ")
	switch order {
	case "", "index", "index asc":
		order = "index"
	case "index desc":
		w.descending = true
	default:
		return nil, invalid("order_by", in.GetOrderBy(), "there is no such order", "index, index desc")
	}
	head, err := s.config.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	w.bounds(head.Size)
	raw, err := filter.ParsePageToken(in.GetPageToken(), "entries", in.GetFilter(), order)
	if err != nil {
		return nil, err
	}
	if err := w.resume(raw); err != nil {
		return nil, err
	}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	out := &certwrightv1.ListEntriesResponse{Entries: w.out}
	if w.from < w.to {
		next := w.from
		if w.descending {
			next = w.to
		}
		out.NextPageToken = filter.PageToken(binary.BigEndian.AppendUint64(nil, next), "entries", in.GetFilter(), order)
	}
	return out, nil
}

// entryWalk collects one page from the entries [from, to) that are left.
type entryWalk struct {
	service    *ledgerService
	filter     filter.Filter
	descending bool
	from, to   uint64
	room       int
	bytes      int
	out        []*certwrightv1.LedgerEntry
}

// bounds narrows the walk to what the filter says of the index.
func (w *entryWalk) bounds(size uint64) {
	w.to = size
	for _, c := range w.filter.Conditions() {
		var n uint64
		if c.Field != "index" {
			continue
		}
		if _, err := fmt.Sscan(c.Text, &n); err != nil || n >= size {
			continue
		}
		if c.Operator == "=" || c.Operator == ">" || c.Operator == ">=" {
			w.from = max(w.from, n)
		}
		if c.Operator == "=" || c.Operator == "<" || c.Operator == "<=" {
			w.to = min(w.to, n+1)
		}
	}
}

func (w *entryWalk) resume(token []byte) error {
	if token == nil {
		return nil
	}
	if len(token) != 8 {
		return filter.NoPlace(nil)
	}
	n := binary.BigEndian.Uint64(token)
	if w.descending {
		w.to = min(w.to, n)
	} else {
		w.from = max(w.from, n)
	}
	return nil
}

func (w *entryWalk) run(ctx context.Context) error {
	for scanned := uint64(0); w.from < w.to && scanned < maxEntryScan; {
		batch := min(w.to-w.from, entryBatch)
		start := w.from
		if w.descending {
			start = w.to - batch
		}
		raws, err := w.service.config.Store.Entries(ctx, start, int(batch))
		if err != nil {
			return err
		}
		if uint64(len(raws)) < batch && w.descending || len(raws) == 0 {
			return fmt.Errorf("entries from %d: %d of %d read", start, len(raws), batch)
		}
		scanned += uint64(len(raws))
		for i := range raws {
			index, raw := start+uint64(i), raws[i]
			if w.descending {
				index, raw = start+uint64(len(raws)-1-i), raws[len(raws)-1-i]
			}
			if err := w.take(index, raw); err != nil {
				return err
			}
			if w.room == 0 || w.bytes > maxEntryBytes {
				return nil
			}
		}
	}
	return nil
}

// take moves the walk past one entry.
func (w *entryWalk) take(index uint64, raw []byte) error {
	if w.descending {
		w.to = index
	} else {
		w.from = index + 1
	}
	e, err := entry.Parse(raw)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	matches := w.filter.Match(func(field string) any {
		switch field {
		case "index":
			return index
		case "kind":
			return kindOf(e.Kind).String()
		case "time":
			return e.Time
		case "actor":
			return e.Actor
		}
		return nil
	})
	if !matches {
		return nil
	}
	m, err := entryMessage(index, raw)
	if err != nil {
		return err
	}
	w.out = append(w.out, m)
	w.room--
	w.bytes += len(raw)
	return nil
}
