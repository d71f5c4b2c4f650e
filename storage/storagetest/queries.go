package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// walk pages through a query and returns the ledger indexes.
func walk(t testing.TB, s storage.CertificateReader, q storage.Query) []uint64 {
	t.Helper()
	indexes := []uint64{}
	for {
		page, err := s.Certificates(t.Context(), q)
		if err != nil || len(page.Certificates) > q.Limit {
			t.Fatalf("page of %d, %v", len(page.Certificates), err)
		}
		for _, c := range page.Certificates {
			indexes = append(indexes, c.Index)
		}
		if page.Next == nil {
			return indexes
		}
		if len(page.Certificates) != q.Limit {
			t.Fatalf("a page of %d of %d, and there is a next one", len(page.Certificates), q.Limit)
		}
		q.After = page.Next
	}
}

// testQueries compares every order, both ways and by pages of every size, with
// what was stored.
func testQueries(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	key := newKey(t)
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var owners, names, keys, all, open []uint64
	var spki identity.KeyID
	byExpiry := make([]uint64, 12)
	for n := range 12 {
		do(t, s, Action("between"))
		spec := Spec{Owner: "team", Names: DNS("a.internal", fmt.Sprintf("b%d.internal", n)), NotAfter: start.Add(time.Duration(12-n) * time.Hour)}
		if n%2 == 0 {
			spec.Owner, spec.Names = "team2", DNS("aa.internal")
		}
		if n%3 == 0 {
			spec.Key = key
		}
		i := issuer.Issue(t, spec)
		index := do(t, s, i.Reserve).Indexes[0]
		all, byExpiry[11-n] = append(all, index), index
		if n%2 == 1 {
			owners, names = append(owners, index), append(names, index)
		}
		if n%3 == 0 {
			keys, spki = append(keys, index), i.Reserve.SPKI
		}
		if n < 6 {
			do(t, s, i.Complete)
		} else {
			open = append(open, index)
		}
	}
	tests := []struct {
		name string
		q    storage.Query
		want []uint64
	}{
		{"all", storage.Query{Order: storage.ByIndex}, all},
		{"owner", storage.Query{Order: storage.ByOwner, Value: "team"}, owners},
		{"no owner", storage.Query{Order: storage.ByOwner, Value: "tea"}, []uint64{}},
		{"name", storage.Query{Order: storage.ByName, Value: "dns:a.internal"}, names},
		{"spki", storage.Query{Order: storage.BySPKI, Value: spki.String()}, keys},
		{"expiry", storage.Query{Order: storage.ByExpiry}, byExpiry},
		{"expiry from", storage.Query{Order: storage.ByExpiry, From: start.Add(3 * time.Hour)}, byExpiry[2:]},
		{"expiry to", storage.Query{Order: storage.ByExpiry, To: start.Add(3 * time.Hour)}, byExpiry[:2]},
		{"expiry between", storage.Query{Order: storage.ByExpiry, From: start.Add(time.Hour + 1), To: start.Add(5*time.Hour + 1)}, byExpiry[1:5]},
		{"unresolved", storage.Query{Order: storage.ByUnresolved}, open},
	}
	for _, test := range tests {
		for limit := 1; limit <= 13; limit++ {
			q := test.q
			q.Limit = limit
			if got := walk(t, s, q); !slices.Equal(got, test.want) {
				t.Errorf("%s by %d: %v, want %v", test.name, limit, got, test.want)
			}
			q.Descending = true
			back := slices.Clone(test.want)
			slices.Reverse(back)
			if got := walk(t, s, q); !slices.Equal(got, back) {
				t.Errorf("%s descending by %d: %v, want %v", test.name, limit, got, back)
			}
		}
	}
	for _, bad := range []storage.Query{
		{Limit: 0}, {Limit: 1001}, {Order: 99, Limit: 1}, {Order: storage.BySPKI, Value: "zz", Limit: 1},
		{Order: storage.ByOwner, Value: "team", After: []byte("zzz"), Limit: 1},
	} {
		if _, err := s.Certificates(t.Context(), bad); err == nil {
			t.Errorf("%+v is answered", bad)
		}
	}
	sound(t, s)
}

// testPagingUnderWrites: while others write, a walk shows everything that was
// there when it began exactly once.
func testPagingUnderWrites(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	var before []uint64
	for range 60 {
		before = append(before, do(t, s, issuer.Issue(t, Spec{}).Reserve).Indexes[0])
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	started := make(chan struct{})
	wg.Go(func() {
		for n := 0; ; n++ {
			if _, err := s.Commit(t.Context(), storage.Unit{issuer.Issue(t, Spec{}).Reserve}); err != nil {
				t.Error(err)
				return
			}
			if n == 0 {
				close(started)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-started
	for _, descending := range []bool{false, true} {
		for _, order := range []storage.Order{storage.ByIndex, storage.ByOwner} {
			seen := map[uint64]int{}
			q := storage.Query{Order: order, Value: "team-a", Limit: 7, Descending: descending}
			// Ascending, the writer may stay ahead for ever: enough is enough.
			for pages := 0; pages < 20; pages++ {
				page, err := s.Certificates(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range page.Certificates {
					seen[c.Index]++
				}
				if q.After = page.Next; page.Next == nil {
					break
				}
			}
			for index, n := range seen {
				if n != 1 {
					t.Errorf("order %d: certificate %d is seen %d times", order, index, n)
				}
			}
			for _, index := range before {
				if !descending && seen[index] != 1 {
					t.Errorf("order %d: certificate %d is seen %d times", order, index, seen[index])
				}
			}
		}
	}
}

func testRevoked(t *testing.T, b Backend) {
	s := b.store(t)
	issuer, other := NewIssuer(t), NewIssuer(t)
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	want := map[identity.Serial]identity.RevocationReason{}
	for n := range 12 {
		from := issuer
		if n%4 == 3 {
			from = other
		}
		i := from.Issue(t, Spec{CRLShard: uint16(n % 2), NotAfter: start.Add(time.Duration(n) * 20 * time.Minute)})
		do(t, s, i.Reserve)
		do(t, s, i.Complete)
		if n == 4 {
			continue
		}
		do(t, s, i.Revoke(t, identity.KeyCompromise))
		if from == issuer && n%2 == 0 && n >= 2 {
			want[i.Reserve.Serial] = identity.KeyCompromise
		}
	}
	got := map[identity.Serial]identity.RevocationReason{}
	err := s.Revoked(t.Context(), issuer.ID, 0, start.Add(40*time.Minute), func(r storage.Revoked) error {
		got[r.Serial] = r.Reason
		return nil
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("revoked %v, want %v (%v)", got, want, err)
	}
	stop := errors.New("stop")
	calls := 0
	if err := s.Revoked(t.Context(), issuer.ID, 0, start, func(storage.Revoked) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	sound(t, s)
}

func testCRLNumbers(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	puts := make([]storage.PutCRL, rivals)
	for n := range puts {
		puts[n] = issuer.PutCRL(t, "0", uint64(n/2)+1, fmt.Appendf(nil, "crl %d", n))
	}
	together(t, rivals, func(n int) error {
		_, err := s.Commit(t.Context(), storage.Unit{puts[n]})
		return err
	}, storage.ErrConflict)
	got, err := s.CRL(t.Context(), issuer.ID, "0")
	if err != nil || got.Number != rivals/2 {
		t.Errorf("number %d, %v", got.Number, err)
	}
	refuse(t, s, storage.ErrConflict, issuer.PutCRL(t, "0", rivals/2, []byte("again")))
	do(t, s, issuer.PutCRL(t, "1", 1, []byte("another shard")))
	if _, err := s.CRL(t.Context(), issuer.ID, "2"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a shard without CRL: %v", err)
	}
	sound(t, s)
}
