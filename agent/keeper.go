package agent

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/agent/acme"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/direct"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/agent/judge"
	"github.com/certwright/certwright/agent/source"
	"github.com/certwright/certwright/client/schedule"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
)

// longestNap is how long a keeper sleeps at most: a clock that was set, or a machine
// that slept, is noticed then.
const longestNap = time.Minute

// shortestNap bounds what a mistake in the times can cost.
const shortestNap = 100 * time.Millisecond

// issuer is where certificates come from. Errors are as package source has them.
type issuer interface {
	// Obtain asks for a certificate. The same request again, with the same ID, is for
	// the same certificate.
	Obtain(ctx context.Context, r source.Request) (source.Answer, error)
	// Window asks when the certificate is to be renewed.
	Window(ctx context.Context, h *folder.Held) (source.Window, error)
}

// keeper keeps one certificate.
type keeper struct {
	agent  *Agent
	config *config.Certificate
	log    *slog.Logger
	rules  schedule.Rules
	issuer issuer
	folder folder.Folder
	roots  *x509.CertPool // nil: those of the system
	names  []identity.Identifier
	order  string       // what is wanted, as a digest
	asks   string       // that, and of whom and as whom it is asked for
	before string       // why what was in the folder at the start cannot be used
	expect atomic.Int64 // when the next sign of life is due, Unix seconds

	mu     sync.Mutex // of what follows: the status reads it
	record record
	held   *folder.Held
}

func (a *Agent) newKeeper(c *config.Config, each *config.Certificate, shared *acme.Source) (*keeper, error) {
	k := &keeper{
		agent: a, config: each, log: a.log.With(slog.String("certificate", each.Name)), rules: schedule.Rules{Tries: c.TriesPerHour},
		folder: folder.Folder{Dir: each.Folder, Files: each.Files, Mode: fs.FileMode(each.Mode), PublicMode: fs.FileMode(each.PublicMode)},
	}
	for _, name := range each.Names {
		k.names = append(k.names, config.Identify(name))
	}
	var err error
	if k.names, err = identity.CanonicalSet(k.names); err != nil {
		return nil, err
	}
	if k.order, err = orderOf(each, k.names); err != nil {
		return nil, err
	}
	if k.asks, err = requestOf(c, each, k.order); err != nil {
		return nil, err
	}
	if k.folder.UID, k.folder.GID, err = ownerOf(each); err != nil {
		return nil, err
	}
	trust := c.CAFile
	k.issuer = &direct.Source{Server: c.Server, OwnSocket: c.OwnSocket, CAFile: c.CAFile, Auth: each.Auth, UserAgent: a.userAgent()}
	if each.Source == config.ACMESource {
		k.issuer, trust = shared, c.ACME.TrustFile
	}
	if k.roots, err = config.Roots(trust); err != nil {
		return nil, err
	}
	// Another agent's folder is not ours; one that cannot be written to may be later.
	if err := a.holdFolder(each.Folder); inUse(err) {
		return nil, err
	}
	return k, k.resume()
}

// resume finds out where the last process was.
func (k *keeper) resume() error {
	k.load()
	k.record.begin(k.asks)
	held, err := k.find()
	if err != nil {
		// What cannot be used is as good as nothing: a new certificate takes its place.
		k.log.Warn("what is in the folder cannot be used", slog.String("error", err.Error()))
		k.record.LastError, k.record.LastErrorAt, k.before = source.Words(err.Error()), time.Now(), source.Words(err.Error())
	}
	now := time.Now()
	if held == nil {
		if k.record.Certificate != "" || k.record.Plan.Due.IsZero() {
			plan := k.rules.Start(now)
			plan.Tries, plan.Retry, plan.Failures = k.record.Plan.Tries, k.record.Plan.Retry, k.record.Plan.Failures
			k.record.Plan, k.record.Certificate = plan, ""
		}
		return nil
	}
	k.held = held
	if err := k.settle(now); err != nil {
		return err
	}
	if !k.fits() {
		k.log.Info("the certificate is not what the file asks for, or of another CA: a new one is due")
		k.record.Plan = k.rules.Hurry(k.record.Plan, now)
	}
	if !k.folder.Fits() && k.folder.Ready() == nil {
		if err := k.folder.Publish(held); err != nil {
			return err
		}
	}
	return nil
}

// find is the certificate that is in the folder, be it the agent's own or one to take
// over.
func (k *keeper) find() (*folder.Held, error) {
	held, err := k.folder.Held()
	if err != nil || held != nil && k.folder.Ready() == nil {
		return held, err
	}
	taken, err := k.folder.Adopt(func(h *folder.Held) error {
		return judge.Found(h.Chain, judge.Want{Public: h.Key.Public(), Names: k.names, Roots: k.roots, Now: time.Now()})
	})
	if taken == nil {
		return held, err
	}
	k.log.Info("the certificate that was in the folder is kept from now on")
	return taken, nil
}

// settle brings the record in line with the certificate that is held: a process may
// have ended after it had published and before it had noted that, or before it had
// forgotten the request.
func (k *keeper) settle(now time.Time) error {
	p, err := k.pending()
	answered := err == nil && p != nil && p.answered(k.held)
	if k.record.Certificate != k.held.ID() {
		leaf := k.held.Leaf()
		k.record.Plan = k.rules.Renewed(k.record.Plan, leaf.NotBefore, leaf.NotAfter, now)
		k.record.Certificate, k.record.Order = k.held.ID(), ""
		if answered {
			k.record.Order, k.record.HookDue, k.record.HookRetry = p.Order, k.hasHook(), time.Time{}
			k.record.LastError, k.record.LastErrorAt = "", time.Time{}
		}
		if err := k.change(func(*record) {}); err != nil {
			return err
		}
	}
	if answered {
		return k.drop()
	}
	return nil
}

// fits tells whether the certificate held is for what is wanted.
func (k *keeper) fits() bool {
	return k.sameOrder() && keys.Algorithm(k.held.Key.Public()) == k.config.Key.Type
}

// sameOrder tells whether the certificate held is for the same as is wanted, but for
// the key, and of a CA that is trusted. What it was asked for may not be known.
func (k *keeper) sameOrder() bool {
	have, err := identity.CanonicalSet(judge.NamesOf(k.held.Leaf()))
	return err == nil && judge.Leads(k.held.Chain, k.roots) == nil && slices.Equal(have, k.names) && (k.record.Order == "" || k.record.Order == k.order)
}

// run keeps the certificate until quit ends. What is under way then is finished,
// unless ctx ends.
func (k *keeper) run(ctx, quit context.Context) error {
	for quit.Err() == nil {
		wake := k.step(ctx)
		nap := min(max(time.Until(wake), shortestNap), longestNap)
		k.alive(nap)
		timer := time.NewTimer(nap)
		select {
		case <-quit.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// step does what is due and answers when the next is.
func (k *keeper) step(ctx context.Context) time.Time {
	// It may have to wait for all the others, each with an attempt and a hook.
	k.alive((2*patience + time.Duration(k.config.Hook.Timeout)) * time.Duration(len(k.agent.all())))
	k.ask(ctx)
	if now := time.Now(); !k.next(now).After(now) {
		if err := k.attempt(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("no new certificate", slog.String("error", err.Error()), slog.Time("next", k.next(time.Now())), slog.Int("failures", k.plan().Failures))
		}
	}
	k.runHook(ctx)
	k.agent.saveStatus()
	return k.wake()
}

// wake is when there is something to do.
func (k *keeper) wake() time.Time {
	now := time.Now()
	wake := k.next(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held != nil && k.record.Plan.Ask.Before(wake) && !now.After(k.held.Leaf().NotAfter) {
		wake = k.record.Plan.Ask
	}
	if k.record.HookDue && k.record.HookRetry.Before(wake) {
		wake = k.record.HookRetry
	}
	return wake
}

func (k *keeper) plan() schedule.Plan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Plan
}

func (k *keeper) next(now time.Time) time.Time { return k.rules.Next(k.plan(), now) }

// alive promises another sign of life after d.
func (k *keeper) alive(d time.Duration) { k.expect.Store(time.Now().Add(d + time.Minute).Unix()) }

// ask asks the issuer for its window, if it is time.
func (k *keeper) ask(ctx context.Context) {
	now := time.Now()
	plan := k.plan()
	if k.held == nil || plan.Ask.After(now) || now.After(k.held.Leaf().NotAfter) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	w, err := k.issuer.Window(limited, k.held)
	cancel()
	switch f := source.Of(err); {
	case err == nil:
		plan = k.rules.Suggested(plan, schedule.Window{Start: w.Start, End: w.End}, w.AskAgain, now)
	case ctx.Err() != nil:
		return
	case f.Rejected:
		k.log.Warn("the certificate is not taken any more: a new one is due", slog.String("error", err.Error()))
		plan = k.rules.Hurry(k.rules.Unanswered(plan, now), now)
	default:
		k.log.Debug("the renewal window is not known", slog.String("error", err.Error()))
		plan = k.rules.Unanswered(plan, now)
	}
	if err := k.change(func(r *record) { r.Plan = plan }); err != nil {
		k.log.Error("the state cannot be kept", slog.String("error", err.Error()))
	}
}

// ownerOf is lookUp, if the files can be given to them.
func ownerOf(c *config.Certificate) (uid, gid int, err error) {
	uid, gid, err = lookUp(c)
	if err == nil && os.Geteuid() != 0 && uid >= 0 && uid != os.Geteuid() {
		return 0, 0, fmt.Errorf("file_owner: only root gives files to %s", c.FileOwner)
	}
	return uid, gid, err
}

// lookUp answers the numbers of the user and group; -1: as they come.
func lookUp(c *config.Certificate) (uid, gid int, err error) {
	uid, gid = -1, -1
	if c.FileOwner != "" {
		u, err := user.Lookup(c.FileOwner)
		if err != nil {
			if u, err = user.LookupId(c.FileOwner); err != nil {
				return 0, 0, fmt.Errorf("file_owner: there is no user %.64q", c.FileOwner)
			}
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if c.FileGroup != "" {
		g, err := user.LookupGroup(c.FileGroup)
		if err != nil {
			if g, err = user.LookupGroupId(c.FileGroup); err != nil {
				return 0, 0, fmt.Errorf("file_group: there is no group %.64q", c.FileGroup)
			}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return uid, gid, nil
}
