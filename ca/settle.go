package ca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// systemActor is who abandons and revokes in the ledger when nobody asked.
const systemActor = "system:server"

// Settle abandons and revokes the intents that earlier runs of this server left
// unresolved. It is called once, before the first Issue. It returns how many
// there were.
func (a *Authority) Settle(ctx context.Context) (int, error) {
	return a.sweep(ctx, entry.ReasonServerEnded, func(c storage.Certificate) bool {
		return c.Incarnation.Server() == a.incarnation.Server() && c.Incarnation != a.incarnation
	})
}

// Run sweeps up the intents of any server whose deadline has long passed, until
// ctx ends. A living server resolves its own by their deadline; the sweep
// leaves it as much time again.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(max(a.deadline/2, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, err := a.sweep(ctx, entry.ReasonDeadlinePassed, a.overdue)
		switch {
		case err != nil && ctx.Err() == nil:
			a.logger.LogAttrs(ctx, slog.LevelError, "overdue intents were not abandoned", slog.Any("error", err))
		case n > 0:
			a.logger.LogAttrs(ctx, slog.LevelWarn, "overdue intents were abandoned", slog.Int("count", n))
		}
	}
}

// overdue tells whether the deadline has passed for as long as it was away.
func (a *Authority) overdue(c storage.Certificate) bool {
	return a.now().After(c.Deadline.Add(a.deadline))
}

// sweep abandons and revokes the unresolved intents that are dead.
func (a *Authority) sweep(ctx context.Context, reason string, dead func(storage.Certificate) bool) (int, error) {
	n := 0
	q := storage.Query{Order: storage.ByUnresolved, Limit: 500}
	for {
		page, err := a.store.Certificates(ctx, q)
		if err != nil {
			return n, fmt.Errorf("unresolved intents: %w", err)
		}
		for _, row := range page.Certificates {
			if !dead(row) {
				continue
			}
			var attached []storage.Command
			if a.abandoned != nil {
				attached = a.abandoned(row)
			}
			err := a.abandon(ctx, row, reason, attached, true)
			if errors.Is(err, storage.ErrConflict) { // it was resolved meanwhile
				continue
			}
			if err != nil {
				return n, fmt.Errorf("abandon %s: %w", row.Serial, err)
			}
			n++
		}
		if q.After = page.Next; q.After == nil {
			return n, nil
		}
	}
}

// abandon gives up an intent, and revokes its serial in the same unit unless it
// is revoked already. ErrConflict if it is no longer reserved.
func (a *Authority) abandon(ctx context.Context, row storage.Certificate, reason string, attached []storage.Command, revoke bool) error {
	draft, err := entry.Abandoned{Index: row.Index, Reason: reason}.Draft(systemActor)
	if err != nil {
		return err
	}
	abandon := storage.Unit{storage.Abandon{Entry: draft, Issuer: row.Issuer, Serial: row.Serial}}
	if !revoke {
		return a.commitAbandon(ctx, slices.Concat(abandon, attached))
	}
	cmd, err := a.revocation(row.Issuer, row.Serial, identity.Unspecified, systemActor)
	if err != nil {
		return err
	}
	err = a.commitAbandon(ctx, slices.Concat(abandon, storage.Unit{cmd}, attached))
	if err == nil || maybeDurable(err) {
		a.revoked(changeOf(row))
	}
	if errors.Is(err, storage.ErrConflict) { // perhaps it is the revocation that is there already
		err = a.commitAbandon(ctx, slices.Concat(abandon, attached))
	}
	return err
}

func (a *Authority) commitAbandon(ctx context.Context, unit storage.Unit) error {
	_, err := a.commitPatiently(ctx, unit)
	if err == nil {
		a.counters.abandoned.Add(1)
	}
	return err
}
