package bulk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/storage"
)

// walk is the order in which an operation goes: that of the ledger.
const walk = "create_time"

// The bounds of what is shown of a radius.
const (
	maxOwners = 100
	maxSample = 10
	scanPage  = 1000
)

// Radius is what an order hits.
type Radius struct {
	Certificates uint64       `json:"certificates"`
	Owners       []OwnerCount `json:"owners"` // most certificates first, at most 100
	// Lineages are lines of renewal: certificates of one owner and profile with the
	// same names.
	// Lost are those that lose their newest valid certificate.
	Lineages uint64 `json:"lineages"`
	Lost     uint64 `json:"lost"`
}

// OwnerCount is how many certificates of an owner are hit.
type OwnerCount struct {
	Owner        string `json:"owner"`
	Certificates uint64 `json:"certificates"`
}

// Preview is what an order would hit if it were given with the Before that it
// returns, with some of the certificates; nothing is revoked. The errors are
// Start's.
func (o *Operations) Preview(ctx context.Context, order Order) (radius Radius, sample []inventory.Row, before uint64, err error) {
	if err := o.check(ctx, order); err != nil {
		return Radius{}, nil, 0, err
	}
	head, err := o.cfg.Store.Head(ctx)
	if err != nil {
		return Radius{}, nil, 0, fmt.Errorf("operation: %w", err)
	}
	if before = head.Size; order.Before > 0 {
		before = min(order.Before, head.Size)
	}
	radius, sample, err = o.count(ctx, order.Filter, order.Owners, before)
	return radius, sample, before, err
}

// count walks all that an order selects.
func (o *Operations) count(ctx context.Context, filter string, only []string, before uint64) (Radius, []inventory.Row, error) {
	var r Radius
	var sample []inventory.Row
	owners := map[string]uint64{}
	lineages := map[[sha256.Size]byte]bool{} // → its newest is hit
	place := ""
	for {
		page, err := o.cfg.Inventory.Search(ctx, inventory.Question{Filter: filter, Owners: only, OrderBy: walk, PageSize: scanPage, PageToken: place})
		if err != nil {
			return Radius{}, nil, err
		}
		for _, row := range page.Rows {
			if !o.hit(row.Certificate, before) {
				continue
			}
			r.Certificates++
			owners[row.Intent.Owner]++
			line := lineage(row.Certificate)
			lineages[line] = lineages[line] || !row.Superseded
			if len(sample) < maxSample {
				sample = append(sample, row)
			}
		}
		if place = page.Next; place == "" || beyond(page.Rows, before) {
			break
		}
	}
	for owner, n := range owners {
		r.Owners = append(r.Owners, OwnerCount{owner, n})
	}
	slices.SortFunc(r.Owners, func(a, b OwnerCount) int {
		return cmp.Or(cmp.Compare(b.Certificates, a.Certificates), cmp.Compare(a.Owner, b.Owner))
	})
	r.Owners = r.Owners[:min(len(r.Owners), maxOwners)]
	r.Lineages = uint64(len(lineages))
	for _, lost := range lineages {
		if lost {
			r.Lost++
		}
	}
	return r, sample, nil
}

// hit tells whether a certificate that the filter selects is to be revoked.
func (o *Operations) hit(c storage.Certificate, before uint64) bool {
	return c.Index < before && c.Revocation == nil && c.State != storage.Abandoned && !o.cfg.Now().After(c.NotAfter)
}

// beyond tells whether a page ends at or after the last index that is hit: rows
// are in the ledger's order.
func beyond(rows []inventory.Row, before uint64) bool {
	return len(rows) > 0 && rows[len(rows)-1].Index >= before
}

// lineage names a line of renewal.
func lineage(c storage.Certificate) [sha256.Size]byte {
	return sha256.Sum256([]byte(inventory.Line(c)))
}
