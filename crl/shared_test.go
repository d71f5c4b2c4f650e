package crl

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// countingStore counts the lists that are read.
type countingStore struct {
	Store
	read atomic.Int64
}

func (s *countingStore) CRL(ctx context.Context, issuer identity.KeyID, shard string) (storage.CRL, error) {
	s.read.Add(1)
	return s.Store.CRL(ctx, issuer, shard)
}

// slowReader takes nothing of an answer until it is released.
type slowReader struct {
	*httptest.ResponseRecorder
	began   chan<- struct{}
	release <-chan struct{}
	once    sync.Once
}

func (s *slowReader) Write(b []byte) (int, error) {
	s.once.Do(func() { s.began <- struct{}{} })
	<-s.release
	return s.ResponseRecorder.Write(b)
}

// slowReaders fetch a path and stop at the answer's first octet; end lets them go
// on and wants the whole list of each.
func (w *world) slowReaders(t *testing.T, n int, path string) (end func()) {
	t.Helper()
	began, release := make(chan struct{}, n), make(chan struct{})
	var group sync.WaitGroup
	readers := make([]*slowReader, n)
	for i := range readers {
		readers[i] = &slowReader{ResponseRecorder: httptest.NewRecorder(), began: began, release: release}
		group.Go(func() { w.ServeHTTP(readers[i], httptest.NewRequest(http.MethodGet, path, nil)) })
	}
	for range readers {
		<-began
	}
	return func() {
		close(release)
		group.Wait()
		for _, r := range readers {
			if r.Code != http.StatusOK || r.Body.Len() == 0 || r.Body.String() != readers[0].Body.String() {
				t.Errorf("%s: %d, %d octets", path, r.Code, r.Body.Len())
			}
		}
	}
}

func (s *shared) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0 && len(s.free) == 0
}

// TestSlowReaders: however many fetch a list that is in the store alone, there is
// one copy of it; and few copies of all lists.
func TestSlowReaders(t *testing.T) {
	store := &countingStore{}
	w := newWorld(t, func(c *testConfig) {
		store.Store, c.Store, c.CacheBytes, c.shards = c.Store, store, 1, maxCopies+1
	})
	w.publishAll(t)
	store.read.Store(0)
	w.shared.patience = 50 * time.Millisecond
	end := w.slowReaders(t, 40, shardPath(0))
	if n := store.read.Load(); n != 1 {
		t.Errorf("40 readers: %d copies", n)
	}
	// A publication that came meanwhile is another copy.
	if _, err := w.Publish(t.Context(), "", "0", "x:y"); err != nil {
		t.Fatal(err)
	}
	ends := []func(){end, w.slowReaders(t, 3, shardPath(0))}
	for n := uint16(1); n < maxCopies-1; n++ {
		ends = append(ends, w.slowReaders(t, 2, shardPath(n)))
	}
	if n := store.read.Load(); n != maxCopies {
		t.Errorf("%d copies", n)
	}
	if rec := w.get(http.MethodGet, shardPath(maxCopies)); rec.Code != 503 || rec.Header().Get("Retry-After") == "" || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("one more than there is room for: %d %v", rec.Code, rec.Header())
	}
	for _, end := range ends {
		end()
	}
	if !w.shared.idle() {
		t.Error("copies are left")
	}
	if rec := w.get(http.MethodGet, shardPath(maxCopies)); rec.Code != 200 {
		t.Errorf("with room: %d", rec.Code)
	}
}

// TestReaderGone: who fetches first and goes away does not fail the others, and a
// failure is not kept.
func TestReaderGone(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.CacheBytes, c.shards = 1, 1 })
	w.publishAll(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequestWithContext(gone, http.MethodGet, shardPath(0), nil))
	if rec := w.get(http.MethodGet, shardPath(0)); rec.Code != 200 || !w.shared.idle() {
		t.Errorf("after one that has gone: %d", rec.Code)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if rec := w.get(http.MethodGet, shardPath(0)); rec.Code != 503 || !w.shared.idle() {
		t.Errorf("from a closed store: %d", rec.Code)
	}
}
