package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// faultyStore fails at the first unit that has a command of a kind, and takes no
// writes from then on, like a store whose disk fails.
type faultyStore struct {
	Store
	at      func(storage.Command) bool
	applied bool // the unit that fails is in the store all the same
	err     error
	failed  bool
}

func (f *faultyStore) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	if f.failed {
		return storage.Receipt{}, storage.ErrReadOnly
	}
	if !slices.ContainsFunc(u, f.at) {
		return f.Store.Commit(ctx, u)
	}
	f.failed = true
	if f.applied {
		if _, err := f.Store.Commit(ctx, u); err != nil {
			return storage.Receipt{}, err
		}
	}
	return storage.Receipt{}, f.err
}

// TestFaults lets each step of an issuance end in each way in which it can: the
// server dies, the key does not sign, the store fails with or without having
// written. Who got an error got nothing; the next start settles what is left; the
// same request is then answered with what is in the ledger, or issued.
func TestFaults(t *testing.T) {
	died := errors.New("died")
	kill := func(at Point) func(*world, *Config) {
		return func(_ *world, c *Config) { c.Fault = func(p Point) error { return map[Point]error{at: died}[p] } }
	}
	noSignature := func(w *world) { w.signer.before = func() error { return errors.New("the token is gone") } }
	fail := func(at func(storage.Command) bool, applied bool, err error) func(*world, *Config) {
		return func(w *world, c *Config) {
			if at(storage.Abandon{}) {
				noSignature(w)
			}
			c.Store = &faultyStore{Store: c.Store, at: at, applied: applied, err: err}
		}
	}
	reserve := func(c storage.Command) bool { _, ok := c.(storage.ReserveIssuance); return ok }
	complete := func(c storage.Command) bool { _, ok := c.(storage.CompleteIssuance); return ok }
	abandon := func(c storage.Command) bool { _, ok := c.(storage.Abandon); return ok }
	tests := []struct {
		name   string
		fault  func(*world, *Config)
		reason string // "": the server died
		left   int    // intents that the next start settles
		issued bool   // the ledger has the certificate
	}{
		{"killed: checked", kill(PointChecked), "", 0, false},
		{"killed: reserved", kill(PointReserved), "", 1, false},
		{"killed: signed", kill(PointSigned), "", 1, false},
		{"killed: completed", kill(PointCompleted), "", 0, true},
		{"no signature", func(w *world, _ *Config) { noSignature(w) }, "SIGNING_FAILED", 0, false},
		{"reserve: unknown, lost", fail(reserve, false, storage.ErrUnknownOutcome), "STORE_READ_ONLY", 0, false},
		{"reserve: unknown, written", fail(reserve, true, storage.ErrUnknownOutcome), "STORE_READ_ONLY", 1, false},
		{"reserve: read-only", fail(reserve, false, storage.ErrReadOnly), "STORE_READ_ONLY", 0, false},
		{"complete: unknown, lost", fail(complete, false, storage.ErrUnknownOutcome), "STORE_READ_ONLY", 1, false},
		{"complete: unknown, written", fail(complete, true, storage.ErrUnknownOutcome), "STORE_READ_ONLY", 0, true},
		{"complete: read-only", fail(complete, false, storage.ErrReadOnly), "STORE_READ_ONLY", 1, false},
		{"no signature, abandon: unknown, lost", fail(abandon, false, storage.ErrUnknownOutcome), "SIGNING_FAILED", 1, false},
		{"no signature, abandon: unknown, written", fail(abandon, true, storage.ErrUnknownOutcome), "SIGNING_FAILED", 0, false},
		{"no signature, abandon: read-only", fail(abandon, false, storage.ErrReadOnly), "SIGNING_FAILED", 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			w.open(t, func(c *Config) { test.fault(w, c) })
			req := request(t, "r")
			got, err := w.Issue(t.Context(), req, Attach{
				Reserve: []storage.Command{storage.UseToken{ID: "token", For: req.Key(), Max: 1}},
				Abandon: []storage.Command{storage.ReleaseToken{ID: "token", For: req.Key()}},
			})
			if got.Certificate.DER != nil || test.reason == "" && !errors.Is(err, died) {
				t.Fatalf("%x, %v", got.Certificate.DER, err)
			}
			if test.reason != "" {
				wantProblem(t, err, problem.Unavailable, test.reason)
			}
			w.signer.before = nil
			w.restart(t, test.left)
			again, err := w.Issue(t.Context(), req, Attach{Reserve: []storage.Command{storage.UseToken{ID: "token", For: req.Key(), Max: 1}}})
			if err != nil || again.Repeated != test.issued {
				t.Errorf("the same request again: repeated %t, %v", again.Repeated, err)
			}
			if faults := w.faults(t); len(faults) > 0 {
				t.Error(faults)
			}
		})
	}
}

// restart ends the server and starts it again, which settles what it left.
func (w *world) restart(t *testing.T, left int) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, func(c *Config) {
		c.Abandoned = func(row storage.Certificate) []storage.Command {
			return []storage.Command{storage.ReleaseToken{ID: "token", For: row.Intent.RequestKey}}
		}
	})
	if n, err := w.Settle(t.Context()); n != left || err != nil || len(w.unresolved(t)) != 0 {
		t.Errorf("settled %d, %d are left, want %d settled: %v", n, len(w.unresolved(t)), left, err)
	}
}

// faults looks at a store in which one request was issued in the end.
func (w *world) faults(t *testing.T) (faults []string) {
	t.Helper()
	page, err := w.store.Certificates(t.Context(), storage.Query{Order: storage.ByIndex, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	issued := 0
	for _, c := range page.Certificates {
		switch c.State {
		case storage.Issued:
			issued++
		case storage.Abandoned:
		default:
			faults = append(faults, fmt.Sprintf("%s is %s", c.Serial, c.State))
		}
	}
	if issued != 1 {
		faults = append(faults, fmt.Sprintf("%d issued", issued))
	}
	if n, err := w.store.TokenUses(t.Context(), "token"); err != nil || n != 1 {
		faults = append(faults, fmt.Sprintf("the token has %d uses, %v", n, err))
	}
	if err := w.store.Scrub(t.Context(), nil, func(f storage.Finding) { faults = append(faults, fmt.Sprintf("%+v", f)) }); err != nil {
		t.Fatal(err)
	}
	return faults
}
