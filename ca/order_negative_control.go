//go:build negativecontrol

package ca

import (
	"context"
	"time"

	"github.com/certwright/certwright/storage"
)

// inOrder of the negative control: the key signs, and the certificate is
// delivered, before the intent is durable. The crash test must fail with a
// binary built with this tag; nothing else is different.
func inOrder(s Store) Store {
	late := &lateStore{Store: s, units: make(chan storage.Unit, 1<<16)}
	go func() {
		for u := range late.units {
			time.Sleep(time.Millisecond) //nolint:forbidigo // the delay is the fault
			_, _ = late.Store.Commit(context.Background(), u)
		}
	}()
	return late
}

// lateStore acknowledges the units of issuance before it commits them.
type lateStore struct {
	Store
	units chan storage.Unit
}

func (l *lateStore) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	for _, c := range u {
		switch c.(type) {
		case storage.ReserveIssuance, storage.CompleteIssuance:
			l.units <- u
			return storage.Receipt{Indexes: []uint64{0}, Time: time.Now()}, nil
		}
	}
	return l.Store.Commit(ctx, u)
}
