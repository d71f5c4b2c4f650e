// Package recovery goes on from an older copy of the ledger: it takes back what
// another copy has, lets the rooms make what follows from it, and opens a new epoch
// if entries stay lost (docs/ledger.md, Epochs).
package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// Options of a recovery.
type Options struct {
	Config config.Config // of the stopped server
	From   string        // folder with a copy of the ledger; empty: none
	Actor  string        // who recovers, as in the ledger
	Logger *slog.Logger  // nil: nothing is logged
}

// Recovery holds the data folder of a stopped server.
type Recovery struct {
	*ledger.Recovery
	options Options
	release func() error
	store   *bolt.Store
	records *ca.Restorer
	tokens  *token.Restorer
	byHand  []string
}

// Open takes the data folder and makes the plan; nothing is written. Errors are one
// line that says what to do.
func Open(ctx context.Context, o Options) (r *Recovery, err error) {
	c := &o.Config
	if _, err := datadir.Read(c.Data); err != nil {
		if errors.Is(err, datadir.ErrNone) {
			err = fmt.Errorf("there is no CA in %s: name the data folder with --data", c.Data)
		}
		return nil, err
	}
	r = &Recovery{options: o}
	defer func() {
		if err != nil {
			err, r = errors.Join(err, r.Close()), nil
		}
	}()
	if r.release, err = datadir.Lock(c.Data); err != nil {
		return r, err
	}
	signer, err := keys.Open(ctx, keys.Config{URI: c.Ledger.CheckpointKey, Dir: c.Data, Passphrase: c.Passphrase()})
	if err != nil {
		return r, err
	}
	r.store, err = bolt.Open(ctx, bolt.Config{Path: c.Path(strings.TrimPrefix(c.Storage, "bolt:")), Logger: o.Logger})
	if err != nil {
		return r, err
	}
	r.records, r.tokens = ca.NewRestorer(r.store), token.NewRestorer(r.store)
	r.Recovery, err = ledger.PlanRecovery(ctx, ledger.RecoverConfig{
		Store: r.store, Origin: c.Ledger.Origin, Signer: signer, Lock: c.Path(c.Ledger.Lock), From: o.From, Actor: o.Actor, Logger: o.Logger,
	})
	return r, err
}

// Close gives the data folder back.
func (r *Recovery) Close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.release != nil {
		errs = append(errs, r.release())
	}
	return errors.Join(errs...)
}

// Run carries the plan out.
func (r *Recovery) Run(ctx context.Context, progress func(done, total uint64)) error {
	return r.Recovery.Run(ctx, follower{r}, progress)
}

// ByHand is what came back in the ledger and must be done again: one line each.
func (r *Recovery) ByHand() []string { return r.byHand }

// LostTokens is how many tokens the recovery could not bring back.
func (r *Recovery) LostTokens() int { return r.tokens.Lost() }

// follower implements ledger.Follower for all rooms.
type follower struct{ *Recovery }

func (f follower) Back(ctx context.Context, _ uint64, e entry.Entry, body entry.Body, there bool) ([]storage.Command, error) {
	f.note(body)
	fromTokens, err := f.tokens.Back(e, body)
	if err != nil {
		return nil, err
	}
	fromCA, err := f.records.Back(ctx, e, body, there)
	return slices.Concat(fromTokens, fromCA), err
}

func (f follower) Last(ctx context.Context) ([]storage.Command, error) {
	fromTokens, err := f.tokens.Last(ctx, f.options.Actor, f.Epoch > 0)
	if err != nil {
		return nil, err
	}
	fromSessions, err := session.EndAll(ctx, f.store)
	return slices.Concat(fromTokens, fromSessions), err
}

// note keeps what the ledger says of accounts, whose records do not come back.
func (f follower) note(body entry.Body) {
	b, ok := body.(entry.Account)
	if !ok {
		return
	}
	switch b.Event {
	case "deactivated":
		f.byHand = append(f.byHand, "account "+b.Account+" was deactivated: deactivate it again")
	case "key-changed":
		f.byHand = append(f.byHand, "account "+b.Account+" has changed its key, and has the old one again: deactivate it if that key was compromised")
	case "eab-revoked":
		f.byHand = append(f.byHand, "EAB key "+b.EAB+" was revoked: revoke it again")
	}
}
