package storagetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/certwright/certwright/storage"
)

// Backend is one implementation under test.
type Backend struct {
	// Open makes an empty store; the test closes it.
	Open func(t *testing.T) storage.Store
	// Reopen ends the store as hard as it can be ended inside a process, and
	// opens what is durable of it.
	Reopen func(t *testing.T, s storage.Store) storage.Store
}

// Run runs the whole suite.
func Run(t *testing.T, open func(t *testing.T) storage.Store, reopen func(t *testing.T, s storage.Store) storage.Store) {
	b := Backend{open, reopen}
	for _, test := range []struct {
		name string
		run  func(*testing.T, Backend)
	}{
		{"issuance", testIssuance},
		{"refusals", testRefusals},
		{"abandon", testAbandon},
		{"unit in itself", testUnitInItself},
		{"concurrent double complete", testDoubleComplete},
		{"concurrent double revoke", testDoubleRevoke},
		{"complete or abandon", testCompleteOrAbandon},
		{"compare and swap", testCompareAndSwap},
		{"all or nothing", testAllOrNothing},
		{"batch isolation", testBatchIsolation},
		{"tree", testTree},
		{"entry times", testEntryTimes},
		{"tokens", testTokens},
		{"records", testRecords},
		{"unique indexes", testUniqueIndexes},
		{"expiry of records", testExpiredRecords},
		{"erasable", testErasable},
		{"queries", testQueries},
		{"paging under writes", testPagingUnderWrites},
		{"revoked", testRevoked},
		{"crl numbers", testCRLNumbers},
		{"restore", testRestore},
		{"restore what does not follow", testRestoreRefusals},
		{"reopen", testReopen},
		{"cancelled", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

func (b Backend) store(t *testing.T) storage.Store {
	t.Helper()
	s := b.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// do commits a unit that must succeed.
func do(t testing.TB, s storage.Committer, unit ...storage.Command) storage.Receipt {
	t.Helper()
	r, err := s.Commit(t.Context(), unit)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return r
}

// refuse commits a unit that must fail with want.
func refuse(t testing.TB, s storage.Committer, want error, unit ...storage.Command) {
	t.Helper()
	if _, err := s.Commit(t.Context(), unit); !errors.Is(err, want) {
		t.Fatalf("commit: %v, want %v", err, want)
	}
}

func size(t testing.TB, s storage.LedgerReader) uint64 {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.Size
}

// sound scrubs and reports findings as errors.
func sound(t testing.TB, s storage.Scrubber) {
	t.Helper()
	if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { t.Errorf("finding: %+v", f) }); err != nil {
		t.Fatalf("scrub: %v", err)
	}
}

// together calls each of n at the same time and returns how many of them
// returned nil; every other must return one of the allowed errors.
func together(t testing.TB, n int, call func(i int) error, allowed ...error) int {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	results := make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			results[i] = call(i)
		})
	}
	close(start)
	wg.Wait()
	good := 0
	for _, err := range results {
		known := err == nil
		if known {
			good++
		}
		for _, a := range allowed {
			known = known || errors.Is(err, a)
		}
		if !known {
			t.Errorf("unexpected: %v", err)
		}
	}
	return good
}
