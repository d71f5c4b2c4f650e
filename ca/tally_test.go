package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/ca/tally"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/storage"
)

// openTally counts from now on, as the server does.
func (w *world) openTally(t testing.TB) *tally.Tally {
	t.Helper()
	if _, err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := tally.Open(t.Context(), tally.Config{Store: w.store, Signatures: w.CertificateSignatures, Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// endTally is the end of a run: the count is written down.
func endTally(t testing.TB, c *tally.Tally) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func (w *world) issueMany(t testing.TB, n int) {
	t.Helper()
	for range n {
		if _, err := w.Issue(t.Context(), request(t, ""), Attach{}); err != nil {
			t.Fatal(err)
		}
	}
}

func wantCount(t testing.TB, c *tally.Tally, want tally.Count) {
	t.Helper()
	got, err := c.Now(t.Context())
	if err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
	if (got.Detail() == "") != (got.Difference() == 0) {
		t.Errorf("difference %d: %q", got.Difference(), got.Detail())
	}
}

// TestTallyAgrees: what is issued and what fails agrees with the ledger, over an
// orderly restart too.
func TestTallyAgrees(t *testing.T) {
	w := newWorld(t, nil)
	c := w.openTally(t)
	wantCount(t, c, tally.Count{})
	w.issueMany(t, 3)
	w.signer.before = func() error { return errors.New("the key is away") }
	if _, err := w.Issue(t.Context(), request(t, ""), Attach{}); err == nil {
		t.Fatal("issued without a key")
	}
	w.signer.before = nil
	want := tally.Count{Signatures: 3, Intents: 4, Abandoned: 1}
	wantCount(t, c, want)
	endTally(t, c)
	w.reopen(t)
	c = w.openTally(t)
	wantCount(t, c, want)
	w.issueMany(t, 1)
	want.Signatures, want.Intents = 4, 5
	wantCount(t, c, want)
	now := time.Now().UTC().Truncate(time.Second)
	if _, err := w.CRLSigners()[0].Sign(x509cert.CRL{Number: 1, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	wantCount(t, c, want) // lists count for themselves
}

// TestTallySeesTheKeyUsed: a signature that no intent stands for shows, and goes on
// to show after a restart.
func TestTallySeesTheKeyUsed(t *testing.T) {
	w := newWorld(t, nil)
	c := w.openTally(t)
	w.issueMany(t, 2)
	if _, err := w.issuers[0].Signer.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	want := tally.Count{Signatures: 3, Intents: 2}
	wantCount(t, c, want)
	if want.Difference() != 1 {
		t.Errorf("difference %d", want.Difference())
	}
	endTally(t, c)
	w.reopen(t)
	wantCount(t, w.openTally(t), want)
}

// TestTallySeesAnotherKey: a certificate in the ledger that was not signed here
// shows, once nothing is under way.
func TestTallySeesAnotherKey(t *testing.T) {
	w := newWorld(t, nil)
	c := w.openTally(t)
	w.issueMany(t, 1)
	other, err := New(Config{Store: w.store, Policy: w.policies.Engine, HTTPBase: "http://ca.test:8080", Issuers: []IssuerConfig{{Name: "issuing", Certificate: w.cert, Signer: w.signer}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Issue(t.Context(), request(t, ""), Attach{}); err != nil {
		t.Fatal(err)
	}
	want := tally.Count{Signatures: 1, Intents: 2, Missing: 1}
	wantCount(t, c, want)
	if want.Difference() != -1 {
		t.Errorf("difference %d", want.Difference())
	}
	endTally(t, c)
	w.reopen(t)
	wantCount(t, w.openTally(t), want)
}

// endingStore has the run end while a count is being stored.
type endingStore struct {
	tally.Store
	during func()
	deaf   bool // the outcome is not heard of
}

func (s *endingStore) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	r, err := s.Store.Commit(ctx, u)
	if during := s.during; during != nil {
		s.during = nil
		during()
		if s.deaf {
			return r, storage.ErrUnknownOutcome
		}
		return r, errors.Join(err, ctx.Err())
	}
	return r, err
}

// TestTallyEndsWhileStoring: an orderly end writes the count down even if it comes
// while one is being stored.
func TestTallyEndsWhileStoring(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w := newWorld(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		store := &endingStore{Store: w.store, deaf: deaf, during: func() {
			w.issueMany(t, 1)
			cancel()
		}}
		c, err := tally.Open(ctx, tally.Config{Store: store, Signatures: w.CertificateSignatures, Interval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		w.issueMany(t, 2)
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		w.reopen(t)
		wantCount(t, w.openTally(t), tally.Count{Signatures: 3, Intents: 3})
	}
}

// TestTallyAfterKill: what a killed run had not written down is told apart, and is no
// difference.
func TestTallyAfterKill(t *testing.T) {
	w := newWorld(t, nil)
	c := w.openTally(t)
	w.issueMany(t, 2)
	endTally(t, c)
	w.issueMany(t, 3) // and nobody counts them
	w.fault = func(p Point) error {
		if p == PointReserved {
			return errors.New("killed")
		}
		return nil
	}
	if _, err := w.Issue(t.Context(), request(t, ""), Attach{}); err == nil {
		t.Fatal("not killed")
	}
	w.reopen(t)
	c = w.openTally(t)
	want := tally.Count{Signatures: 2, Intents: 2, Uncounted: 4}
	wantCount(t, c, want)
	w.issueMany(t, 1)
	want.Signatures, want.Intents = 3, 3
	wantCount(t, c, want)
}

// TestTallyUnderLoad: while many issue, the two never differ.
func TestTallyUnderLoad(t *testing.T) {
	w := newWorld(t, nil)
	c := w.openTally(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if _, err := w.Issue(t.Context(), request(t, ""), Attach{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if got, err := c.Now(t.Context()); err != nil || got.Difference() != 0 {
			t.Fatalf("%+v: %v", got, err)
		}
	}
	wantCount(t, c, tally.Count{Signatures: 80, Intents: 80})
}
