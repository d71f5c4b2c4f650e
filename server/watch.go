package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/storage"
)

// watch reads every few seconds what metrics and health show of the store, so
// that a scrape never waits for it.
type watch struct {
	store interface {
		storage.LedgerReader
		storage.CertificateReader
	}
	logger     *slog.Logger
	sessions   *session.Sessions
	size       atomic.Uint64 // entries in the ledger
	unresolved atomic.Int64
	active     atomic.Int64 // sessions
	failed     atomic.Bool  // the last look failed
}

const (
	watchInterval = 5 * time.Second
	// sessionsLimit is how many sessions are looked at for their number.
	sessionsLimit = 1000
)

// run looks at once and then again and again, until ctx ends.
func (w *watch) run(ctx context.Context) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		err := w.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if w.failed.Swap(err != nil) != (err != nil) && err != nil {
			w.logger.ErrorContext(ctx, "the store cannot be read", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *watch) look(ctx context.Context) error {
	head, err := w.store.Head(ctx)
	if err != nil {
		return err
	}
	w.size.Store(head.Size)
	page, err := w.store.Certificates(ctx, storage.Query{Order: storage.ByUnresolved, Limit: unresolvedLimit})
	if err != nil {
		return err
	}
	w.unresolved.Store(int64(len(page.Certificates)))
	// A session's record that cannot be read is ledger verify's to tell: the store can.
	if active, err := w.sessions.Active(ctx, sessionsLimit); err == nil {
		w.active.Store(int64(active))
	}
	return nil
}
