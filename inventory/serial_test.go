package inventory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/storage"
)

// unwalked is a store whose certificates cannot be walked, only looked up.
type unwalked struct{ storage.CertificateReader }

func (u unwalked) Certificates(ctx context.Context, q storage.Query) (storage.Page, error) {
	if q.Order == storage.ByIndex {
		return storage.Page{}, errors.New("all certificates are walked")
	}
	return u.CertificateReader.Certificates(ctx, q)
}

// TestSerialIsLookedUp: a search by serial reads one row, whatever the size of the
// ledger; the filter's other conditions hold, and one that nobody has is walked for,
// under issuers that are not known any more.
func TestSerialIsLookedUp(t *testing.T) {
	f := newFixture(t)
	a := f.issue("team-a", time.Hour, "server", "dns:a.internal")
	f.issue("team-a", time.Hour, "server", "dns:b.internal")
	issuers := []inventory.Issuer{{Name: "issuing", KeyID: a.Issuer}}
	v, err := inventory.New(inventory.Config{Store: unwalked{f.store}, Issuers: issuers})
	f.must(err)
	for filter, want := range map[string]int{
		`serial = "` + a.Serial.String() + `"`:                              1,
		`serial = "` + a.Serial.String() + `" AND owner = "team-a"`:         1,
		`serial = "` + a.Serial.String() + `" AND owner = "team-b"`:         0,
		`dns_names : "a.internal" AND serial = "` + a.Serial.String() + `"`: 1,
	} {
		answer, err := v.Search(t.Context(), inventory.Question{Filter: filter, PageSize: 10})
		if err != nil || len(answer.Rows) != want || answer.Next != "" {
			t.Errorf("%s: %d rows, next %q, %v", filter, len(answer.Rows), answer.Next, err)
		}
	}
	other, err := inventory.New(inventory.Config{Store: f.store})
	f.must(err)
	answer, err := other.Search(t.Context(), inventory.Question{Filter: `serial = "` + a.Serial.String() + `"`, PageSize: 10})
	if err != nil || len(answer.Rows) != 1 {
		t.Errorf("of an issuer that is not known: %d rows, %v", len(answer.Rows), err)
	}
}
