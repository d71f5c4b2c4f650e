// Package agent keeps the certificates of a host fresh: it obtains them, renews them
// in time, puts them on disk all at once, runs what must know, and says how it
// stands. The private keys never leave the host.
//
// Each certificate has a keeper, which knows three things that survive a crash: the
// files (package folder), the record (when the next attempt is, what failed), and
// the request under way with its key, which is on disk before the server hears of it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/agent/acme"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/notify"
	"github.com/certwright/certwright/agent/source"
	"github.com/certwright/certwright/client/steady"
)

// atOnce is how many certificates are asked for at the same time.
const atOnce = 4

// Options of an agent. Config and Logger are required.
type Options struct {
	Config  *config.Config
	Version string
	Logger  *slog.Logger
	// Anew has certificates asked for by what auth says, as if there were none: those
	// that there are are shown to nobody.
	Anew bool
	// Notify tells the service manager.
	Notify notify.Notifier
	// Reload has the file read again by Load. Nil: never.
	Reload <-chan os.Signal
	Load   func() (*config.Config, error)
	// Ready is called once the keepers run, with the address of the metrics; nil: not.
	Ready func(metrics string)
}

// Agent holds the locks of a state folder and of its certificates' folders. Close gives
// them back.
type Agent struct {
	options Options
	config  *config.Config
	log     *slog.Logger
	lock    *stateLock
	slots   chan struct{}
	hooks   sync.Mutex // one hook at a time

	holding sync.Mutex          // of what follows
	held    map[string]*os.File // locks of the certificates' folders

	saving sync.Mutex // of status.json
	said   string     // what it says

	mu           sync.Mutex // of what follows
	keepers      []*keeper
	refusal      string // why the file that was read last is not used
	refusedSince time.Time
}

// Open takes the lock and reads what is known. The caller must Close the agent.
func Open(o Options) (*Agent, error) {
	a := &Agent{options: o, config: o.Config, log: o.Logger, slots: make(chan struct{}, atOnce), held: map[string]*os.File{}}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{a.config.State, 0o755}, {a.path("records"), 0o700}, {a.path("pending"), 0o700}, {a.path("acme"), 0o700}} {
		made, err := steady.Make(dir.path, dir.mode)
		if err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
		_ = made.Close()
	}
	if err := config.Trusted(a.config.State); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	lock, err := takeLock(a.config.State)
	if err != nil {
		return nil, err
	}
	a.lock = lock
	if lock.unseen != nil {
		a.log.Warn("the file system of the state folder gave no record lock: agent status cannot tell whether this agent runs", slog.String("state", a.config.State), slog.Any("error", lock.unseen))
	}
	if err := onlyRoots(o.Config); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if err := a.take(o.Config); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Close gives the folders back.
func (a *Agent) Close() error { return errors.Join(a.leaveFolders(nil), a.lock.Close()) }

func (a *Agent) path(parts ...string) string {
	return filepath.Join(append([]string{a.config.State}, parts...)...)
}

// take makes the keepers of a configuration.
func (a *Agent) take(c *config.Config) error {
	shared := &acme.Source{Config: c.ACME, State: filepath.Join(c.State, "acme"), UserAgent: a.userAgent(), Logger: a.log}
	keepers := make([]*keeper, 0, len(c.Certificates))
	for i := range c.Certificates {
		k, err := a.newKeeper(c, &c.Certificates[i], shared)
		if err != nil {
			return errors.Join(fmt.Errorf("certificate %s: %w", c.Certificates[i].Name, err), a.leaveFolders(a.all()))
		}
		keepers = append(keepers, k)
	}
	a.mu.Lock()
	a.config, a.keepers = c, keepers
	a.mu.Unlock()
	return a.leaveFolders(keepers)
}

func (a *Agent) userAgent() string { return "certwright-agent/" + a.options.Version }

// Run keeps the certificates fresh until ctx ends. A hook that runs then has its time.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	address, serve, err := a.listenMetrics()
	if err != nil {
		return err
	}
	group.Go(func() error { return serve(ctx) })
	group.Go(func() error { a.watchdog(ctx); return nil })
	group.Go(func() error {
		for first := true; ctx.Err() == nil; first = false {
			if err := a.round(ctx, first, address); err != nil {
				return err
			}
		}
		return nil
	})
	err = group.Wait()
	a.tell(context.WithoutCancel(ctx), notify.Stopping)
	if errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// round runs the keepers of one configuration, until ctx ends or the file is read
// again.
func (a *Agent) round(ctx context.Context, first bool, metrics string) error {
	quit, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	for _, k := range a.all() {
		group.Go(func() error { return k.run(ctx, quit) })
	}
	a.saveStatus()
	a.tell(ctx, notify.Ready, notify.Status(a.summary()))
	if first && a.options.Ready != nil {
		a.options.Ready(metrics)
	}
	for {
		select {
		case <-ctx.Done():
			return group.Wait()
		case <-a.options.Reload:
		}
		a.tell(ctx, notify.Reloading()...)
		c, err := a.reload()
		if err != nil {
			a.refuse(err)
			a.saveStatus()
			a.tell(ctx, notify.Ready, notify.Status(a.summary()))
			continue
		}
		stop()
		if err := group.Wait(); err != nil {
			return err
		}
		if err := a.take(c); err != nil {
			// What was good enough to be read cannot be worked with: go on as before.
			a.refuse(err)
			return a.take(a.config)
		}
		for _, k := range a.all() {
			k.hurry(time.Now())
		}
		a.refuse(nil)
		a.log.Info("the file was read again", slog.Int("certificates", len(c.Certificates)))
		return nil
	}
}

// refuse notes why the file that was read again is not used; nil: it is.
func (a *Agent) refuse(err error) {
	why := ""
	if err != nil {
		a.log.Error("the file was read again and is not used", slog.String("error", err.Error()))
		why = source.Words(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case why == "":
		a.refusedSince = time.Time{}
	case a.refusal == "":
		a.refusedSince = time.Now().UTC()
	}
	a.refusal = why
}

func (a *Agent) reload() (*config.Config, error) {
	c, err := a.options.Load()
	if err != nil {
		return nil, err
	}
	if c.State != a.config.State || c.Metrics != a.config.Metrics {
		return nil, errors.New("state and metrics change with a restart only")
	}
	return c, onlyRoots(c)
}

func (a *Agent) all() []*keeper {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keepers
}

// tell is a courtesy: a service manager that does not listen stops nothing.
func (a *Agent) tell(ctx context.Context, lines ...string) {
	if err := a.options.Notify.Send(ctx, lines...); err != nil {
		a.log.Warn("the service manager was not told", slog.String("error", err.Error()))
	}
}
