package bolt

import (
	"context"
	"sync"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

// TestSnapshots reads from many goroutines while others write: whoever got an
// answer to a write reads it, whoever has read something reads it again. So too
// where each transaction might map the file anew.
func TestSnapshots(t *testing.T) {
	for name, mapped := range map[string]int64{"shared": 0, "exclusive": 1} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Config{})
			if mapped > 0 {
				s.mapped = mapped // no job has been queued: the writer has not looked at it
			}
			issuer := storagetest.NewIssuer(t)
			done := make(chan struct{})
			var writers, readers sync.WaitGroup
			for range 4 {
				writers.Go(func() {
					for range 20 {
						i := issuer.Issue(t, storagetest.Spec{})
						if _, err := s.Commit(context.Background(), storage.Unit{i.Reserve, i.Complete}); err != nil {
							t.Error(err)
							return
						}
						if c, err := s.BySerial(context.Background(), issuer.ID, i.Reserve.Serial); err != nil || c.State != storage.Issued {
							t.Errorf("%v after its commit: %v", c.State, err)
						}
					}
				})
				readers.Go(func() {
					size := uint64(0)
					for {
						select {
						case <-done:
							return
						default:
						}
						head, err := s.Head(context.Background())
						if err != nil || head.Size < size {
							t.Errorf("%d entries after %d: %v", head.Size, size, err)
							return
						}
						size = head.Size
						page, err := s.Certificates(context.Background(), storage.Query{Order: storage.ByIndex, Limit: 1000})
						if err != nil || uint64(len(page.Certificates)) < size {
							t.Errorf("%d certificates of %d: %v", len(page.Certificates), size, err)
							return
						}
					}
				})
			}
			writers.Wait()
			close(done)
			readers.Wait()
			if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { t.Errorf("%+v", f) }); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.BySerial(t.Context(), issuer.ID, identity.Serial{}); err == nil {
				t.Error("a closed store reads")
			}
		})
	}
}
