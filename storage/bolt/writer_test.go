package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

func newStore(t *testing.T, config Config) *Store {
	t.Helper()
	config.Path = filepath.Join(t.TempDir(), "ledger.db")
	if err := Create(config.Path); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

// held is a store whose writer waits: a unit whose clock does not return until
// release is called.
func held(t *testing.T, queue int) (s *Store, release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	var first, second sync.Once
	s = newStore(t, Config{Queue: queue, Now: func() time.Time {
		first.Do(func() {
			close(entered)
			<-leave
		})
		return time.Now()
	}})
	go func() {
		if _, err := s.Commit(context.Background(), storage.Unit{storagetest.Action("first")}); err != nil {
			t.Error(err)
		}
	}()
	<-entered
	release = func() { second.Do(func() { close(leave) }) }
	t.Cleanup(release)
	return s, release
}

func TestOverloaded(t *testing.T) {
	s, release := held(t, 2)
	var wg sync.WaitGroup
	results := make(chan error, 5)
	for range 5 {
		wg.Go(func() {
			_, err := s.Commit(context.Background(), storage.Unit{storagetest.Action("more")})
			results <- err
		})
	}
	for range 3 { // those that find no place are answered at once
		if err := <-results; !errors.Is(err, storage.ErrOverloaded) {
			t.Errorf("beyond the queue: %v", err)
		}
	}
	if s.Stats().Queue != 2 {
		t.Errorf("queue %d", s.Stats().Queue)
	}
	release()
	wg.Wait()
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("in the queue: %v", err)
		}
	}
}

// TestGivenUp: a caller whose context ends in the queue leaves nothing.
func TestGivenUp(t *testing.T) {
	s, release := held(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.Commit(ctx, storage.Unit{storagetest.Action("given up")})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	release()
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("last")}); err != nil {
		t.Fatal(err)
	}
	if h, err := s.Head(t.Context()); err != nil || h.Size != 2 {
		t.Errorf("%d entries, %v", h.Size, err)
	}
}

// TestOneTransaction: units that wait share a transaction, and the bad one among
// them costs nothing.
func TestOneTransaction(t *testing.T) {
	s, release := held(t, 100)
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			unit := storage.Unit{storagetest.Action(fmt.Sprint(n))}
			if n == 25 {
				unit = append(unit, storage.RequireRecord{Collection: "c", ID: "x", Version: 1})
			}
			_, err := s.Commit(context.Background(), unit)
			if (n == 25) != errors.Is(err, storage.ErrConflict) {
				t.Errorf("unit %d: %v", n, err)
			}
		})
	}
	for s.Stats().Queue < 50 {
		runtime.Gosched()
	}
	release()
	wg.Wait()
	got := s.Stats()
	if got.Transactions != 2 || got.Units != 51 {
		t.Errorf("%+v", got)
	}
	if h, err := s.Head(t.Context()); err != nil || h.Size != 50 {
		t.Errorf("%d entries, %v", h.Size, err)
	}
}

// TestLoneCallerNeverLingers: with a linger of an hour a lone caller would
// never come back.
func TestLoneCallerNeverLingers(t *testing.T) {
	s := newStore(t, Config{Linger: time.Hour})
	for range 20 {
		if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats(); got.Transactions != 20 || got.Fsyncs < 40 {
		t.Errorf("%+v", got)
	}
	// A unit that writes nothing costs no transaction.
	if _, err := s.Commit(t.Context(), storage.Unit{storage.RequireRecord{Collection: "c", ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Transactions != 20 || got.Units != 21 {
		t.Errorf("%+v", got)
	}
}

// TestClockBack: an entry's time is never before the last one's, also after the
// store is opened again.
func TestClockBack(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 123_456_789, time.UTC)
	s := newStore(t, Config{Now: func() time.Time { return now }})
	commit := func() time.Time {
		r, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("x")})
		if err != nil {
			t.Fatal(err)
		}
		return r.Time
	}
	first := commit()
	if want := now.Truncate(time.Millisecond); !first.Equal(want) {
		t.Errorf("time %v, want %v", first, want)
	}
	now = now.Add(-time.Hour)
	if second := commit(); !second.Equal(first) {
		t.Errorf("the clock went back: %v", second)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if r, err := again.Commit(t.Context(), storage.Unit{storagetest.Action("x")}); err != nil || !r.Time.Equal(first) {
		t.Errorf("opened again: %v, %v", r.Time, err)
	}
}

// TestFailedWrite: with its file taken away a write fails; reads go on from the
// memory map.
func TestFailedWrite(t *testing.T) {
	s := newStore(t, Config{})
	i := storagetest.NewIssuer(t).Issue(t, storagetest.Spec{})
	if _, err := s.Commit(t.Context(), storage.Unit{i.Reserve, i.Complete}); err != nil {
		t.Fatal(err)
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.Commit(context.Background(), storage.Unit{storagetest.Action("x")})
			if !errors.Is(err, storage.ErrUnknownOutcome) && !errors.Is(err, storage.ErrReadOnly) {
				t.Errorf("the failed write: %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("x")}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("the write after it: %v", err)
	}
	if c, err := s.BySerial(t.Context(), i.Reserve.Issuer, i.Reserve.Serial); err != nil || c.State != storage.Issued {
		t.Errorf("a read after it: %v", err)
	}
	if h, err := s.Head(t.Context()); err != nil || h.Size != 1 {
		t.Errorf("head %+v, %v", h, err)
	}
}

// TestPanicInUnit: a unit that panics is refused alone.
func TestPanicInUnit(t *testing.T) {
	s := newStore(t, Config{})
	bad := &job{ops: []operation{func(*unit) error { panic("a bug") }}, done: make(chan struct{})}
	if err := s.enqueue(bad); err != nil {
		t.Fatal(err)
	}
	<-bad.done
	if bad.err == nil {
		t.Error("no error")
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("x")}); err != nil {
		t.Errorf("the writer is gone: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	s := newStore(t, Config{})
	key := []byte(keyFormat)
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put(key, mark(key, binary.BigEndian.AppendUint32(nil, format+1)))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Path: s.config.Path})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code() != "DATABASE_FORMAT" {
		t.Errorf("a newer format: %v", err)
	}
}

// TestReserve: when the queue is full, what ends what has begun and what revokes
// still gets in, and what merely begins does not; afterwards the queue is as long as
// before.
func TestReserve(t *testing.T) {
	const queue = 16
	s, release := held(t, queue)
	var wg sync.WaitGroup
	commit := func(unit storage.Unit, want error) {
		wg.Go(func() {
			if _, err := s.Commit(context.Background(), unit); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%T: %v, want %v", unit[0], err, want)
			}
		})
	}
	for n := range queue {
		commit(storage.Unit{storagetest.Action(fmt.Sprint(n))}, nil)
	}
	for s.Stats().Queue < queue {
		runtime.Gosched()
	}
	for range 5 {
		if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("more")}); !errors.Is(err, storage.ErrOverloaded) {
			t.Fatal(err)
		}
	}
	var serial identity.Serial
	at := time.Now().UTC().Truncate(time.Millisecond)
	abandoned, err := entry.Abandoned{Reason: entry.ReasonCanceled}.Draft("system:test")
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := entry.Revoked{Serial: serial, At: at}.Draft("system:test")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []storage.Command{
		storage.Abandon{Serial: serial, Entry: abandoned}, storage.Revoke{Serial: serial, Entry: revoked, At: at},
	} {
		commit(storage.Unit{c}, storage.ErrNotFound) // it got in: the store has looked for the certificate
	}
	for s.Stats().Queue < queue+2 && !t.Failed() {
		runtime.Gosched()
	}
	for _, c := range []storage.Command{storage.CompleteIssuance{}, storage.PutCRL{}} {
		if !ends(storage.Unit{storage.RequireRecord{}, c}) {
			t.Errorf("%T has no right to the reserve", c)
		}
	}
	if ends(storage.Unit{storage.ReserveIssuance{}, storage.PutRecord{}, storage.UseToken{}}) {
		t.Error("what begins has a right to the reserve")
	}
	release()
	wg.Wait()
	if got := s.Stats(); got.Overloaded != 5 || got.Queue != 0 || s.ordinary.Load() != 0 {
		t.Errorf("%+v, %d ordinary", got, s.ordinary.Load())
	}
}
