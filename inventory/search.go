package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// maxScan is how many rows are read for one page. A page that has met fewer
// matches by then is short, and the next goes on from there.
const maxScan = 10_000

// Question is what a search asks for.
type Question struct {
	Filter string // AIP-160; empty: everything
	// Owners whose certificates are searched; nil: everybody's.
	Owners    []string
	OrderBy   string // "create_time desc" (the default), "create_time", "not_after", "not_after desc"
	PageSize  int    // 1 to 1000
	PageToken string // Answer.Next of the page before; empty at first
}

// Answer is one page of a search.
type Answer struct {
	Rows []Row
	Next string // empty: that was the last page; a page may be empty and not the last
}

// search is one Question under way.
type search struct {
	inventory  *Inventory
	filter     filter.Filter
	owners     []string // nil: everybody's
	successors *successors
	now        time.Time
}

// Search answers one page. An error in the question is Malformed. At most 10,000
// rows are read for a page, from the narrowest index that the filter's
// conditions allow: a serial, a name, a key, an owner, the unresolved ones; by
// expiry if the order is by not_after; else all of them.
func (v *Inventory) Search(ctx context.Context, q Question) (Answer, error) {
	f, err := filter.Compile(q.Filter, fields())
	if err != nil {
		return Answer{}, err
	}
	query, order, err := plan(f, q.OrderBy)
	if err != nil {
		return Answer{}, err
	}
	after, err := filter.ParsePageToken(q.PageToken, "certificates", q.Filter, order)
	if err != nil {
		return Answer{}, err
	}
	query.After = after
	now := v.config.Now()
	s := &search{inventory: v, filter: f, owners: q.Owners, successors: newSuccessors(v.config.Store, now), now: now}
	if rows, found, err := s.bySerial(ctx); err != nil || found && after == nil {
		return Answer{Rows: rows}, err
	}
	rows, next, err := s.page(ctx, query, min(max(q.PageSize, 1), 1000))
	if err != nil && after != nil && s.misled(ctx, query) {
		return Answer{}, filter.NoPlace(err)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("inventory: %w", err)
	}
	return Answer{Rows: rows, Next: filter.PageToken(next, "certificates", q.Filter, order)}, nil
}

// bySerial looks up the certificates of a filter that names a serial, under the
// known issuers; not found: there may be one of another issuer.
func (s *search) bySerial(ctx context.Context) (rows []Row, found bool, err error) {
	for _, c := range s.filter.Conditions() {
		if c.Field != "serial" || c.Operator != "=" {
			continue
		}
		serial, err := identity.ParseSerial(c.Text)
		if err != nil {
			return nil, false, nil //nolint:nilerr // the walk finds nothing
		}
		var all []storage.Certificate
		for _, issuer := range s.inventory.config.Issuers {
			one, err := s.inventory.config.Store.BySerial(ctx, issuer.KeyID, serial)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, false, fmt.Errorf("inventory: %w", err)
			}
			all = append(all, one)
		}
		if len(all) == 0 {
			return nil, false, nil
		}
		rows, _, err = s.match(ctx, all, len(all))
		return rows, true, err
	}
	return nil, false, nil
}

// misled tells whether it is the page token's place that the store cannot go on
// from: anybody can make a token, and without the place the same query works.
func (s *search) misled(ctx context.Context, q storage.Query) bool {
	q.After, q.Limit = nil, 1
	_, err := s.inventory.config.Store.Certificates(ctx, q)
	return err == nil
}

// plan chooses the walk for a filter and an order, and says the order's one
// spelling.
func plan(f filter.Filter, orderBy string) (storage.Query, string, error) {
	order := strings.Join(strings.Fields(strings.ToLower(orderBy)), " ")
	switch order {
	case "", "create_time desc":
		return narrow(f, true), "create_time desc", nil
	case "create_time", "create_time asc":
		return narrow(f, false), "create_time", nil
	case "not_after", "not_after asc":
		return expiry(f, false), "not_after", nil
	case "not_after desc":
		return expiry(f, true), "not_after desc", nil
	}
	return storage.Query{}, "", &problem.Problem{
		Kind: problem.Malformed, Reason: "ORDER_INVALID", Rule: "order_by",
		Value: fmt.Sprintf("%.64q", orderBy), Detail: fmt.Sprintf("there is no order %.64q", orderBy),
		Allowed: "create_time, create_time desc, not_after, not_after desc",
	}
}

// narrow is the walk by ledger index over the narrowest index.
func narrow(f filter.Filter, descending bool) storage.Query {
	best, rank := storage.Query{Order: storage.ByIndex}, 0
	for _, c := range f.Conditions() {
		if c.Operator != "=" && (c.Operator != ":" || strings.Contains(c.Text, "*")) {
			continue
		}
		order, value, r := index(c)
		if r > rank {
			best, rank = storage.Query{Order: order, Value: value}, r
		}
	}
	best.Descending = descending
	return best
}

// index is the storage's index for an equality, and how narrow it is; 0: none.
func index(c filter.Condition) (storage.Order, string, int) {
	kinds := map[string]identity.IdentifierType{
		"dns_names": identity.DNS, "ip_addresses": identity.IP, "uris": identity.URI, "emails": identity.Email,
		"name": kindOf(c.Text),
	}
	switch kind, isName := kinds[c.Field]; {
	case isName:
		id, err := identity.Identifier{Type: kind, Value: c.Text}.Canonical()
		// has ignores case and canonical forms may not: the index is used only
		// where both find the same.
		if err != nil || c.Operator == ":" && (kind != identity.DNS && kind != identity.IP) {
			return 0, "", 0
		}
		return storage.ByName, id.String(), 3
	case c.Operator != "=":
		return 0, "", 0
	case c.Field == "spki_sha256":
		return storage.BySPKI, c.Text, 4
	case c.Field == "state" && c.Text == StateReserved:
		return storage.ByUnresolved, "", 2
	case c.Field == "owner":
		return storage.ByOwner, c.Text, 1
	}
	return 0, "", 0
}

// expiry is the walk by NotAfter over the range that the conditions leave.
func expiry(f filter.Filter, descending bool) storage.Query {
	q := storage.Query{Order: storage.ByExpiry, From: time.Unix(0, 0).UTC(), To: endOfTime(), Descending: descending}
	for _, c := range f.Conditions() {
		if c.Field != "not_after" || c.Time.IsZero() {
			continue
		}
		// The walk has whole seconds; the filter decides within them.
		second := c.Time.Truncate(time.Second)
		if (c.Operator == ">" || c.Operator == ">=" || c.Operator == "=") && second.After(q.From) {
			q.From = second
		}
		if end := second.Add(time.Second); (c.Operator == "<" || c.Operator == "<=" || c.Operator == "=") && end.Before(q.To) {
			q.To = end
		}
	}
	return q
}

func endOfTime() time.Time { return time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }

// page collects at most size matches. It asks the store for just as many rows as
// can be taken, more at a time where few match, so that the place to go on from
// is the store's own.
func (s *search) page(ctx context.Context, q storage.Query, size int) ([]Row, []byte, error) {
	rows := []Row{}
	q.Limit = size
	for scanned := 0; ; {
		page, err := s.inventory.config.Store.Certificates(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		matches, end, err := s.match(ctx, page.Certificates, size-len(rows))
		if err != nil {
			return nil, nil, err
		}
		if end < len(page.Certificates) {
			// More match than there is room for: read again only as far as the
			// last one that is taken.
			q.Limit = end
			continue
		}
		rows = append(rows, matches...)
		scanned += len(page.Certificates)
		if page.Next == nil || len(rows) == size || scanned >= maxScan {
			return rows, page.Next, nil
		}
		q.After = page.Next
		q.Limit = min(1000, max(4*q.Limit, size-len(rows)))
	}
}

// match is the first room matches of the certificates, and how many certificates
// were looked at to find them: all, if there is room for all that match.
func (s *search) match(ctx context.Context, certificates []storage.Certificate, room int) ([]Row, int, error) {
	var rows []Row
	last := 0
	for i, c := range certificates {
		v := values{search: s, ctx: ctx, c: c}
		matches := (s.owners == nil || slices.Contains(s.owners, c.Intent.Owner)) && s.filter.Match(v.field)
		if v.err != nil {
			return nil, 0, v.err
		}
		if !matches {
			continue
		}
		if len(rows) == room {
			return rows, last, nil
		}
		superseded, err := s.successors.of(ctx, c)
		if err != nil {
			return nil, 0, err
		}
		rows = append(rows, Row{Certificate: c, Superseded: superseded})
		last = i + 1
	}
	return rows, len(certificates), nil
}
