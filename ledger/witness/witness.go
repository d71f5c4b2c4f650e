// Package witness asks witnesses (C2SP tlog-witness) to cosign the ledger's
// checkpoints: machines of others that remember what they have signed, so that no two
// histories can have both their signatures and the log's. It runs beside the
// checkpoint loop and the issuance, and holds up neither: what a witness says late, or
// never, is missing on the checkpoint, and the state says so.
package witness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/cosign"
	"github.com/certwright/certwright/storage"
)

// Witness is one to ask.
type Witness struct {
	URL string // the submission prefix: "add-checkpoint" is under it
	Key note.Verifier
}

// Parse reads "URL VERIFIER-KEY".
func Parse(text string) (Witness, error) {
	prefix, vkey, ok := strings.Cut(strings.TrimSpace(text), " ")
	u, err := url.Parse(prefix)
	if !ok || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Witness{}, fmt.Errorf("%.128q is not \"URL KEY\", such as \"https://witness.example/ witness.example+1a2b3c4d+BF…\"", text)
	}
	key, err := cosign.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return Witness{}, err
	}
	return Witness{URL: strings.TrimSuffix(prefix, "/"), Key: key}, nil
}

// Log is the ledger whose checkpoints are cosigned: a ledger.Log.
type Log interface {
	// Checkpoint is the newest published checkpoint.
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
	// Wait returns when a published checkpoint covers the entry at index.
	Wait(ctx context.Context, index uint64) error
	// Cosign adds a signature line to the checkpoint, if it is still the published one.
	Cosign(cp ledger.Checkpoint, line []byte)
}

// Config of Witnesses.
type Config struct {
	Log       Log
	Store     storage.LedgerReader
	Witnesses []Witness
	// Need is how many must have cosigned a checkpoint for it to count as witnessed.
	Need int
	// Client asks them; its ports must be those of the URLs.
	Client *egress.Client
	// TLS verifies their certificates; nil: the system's roots.
	TLS    *tls.Config
	Retry  time.Duration // the first wait after a failure, which doubles up to a minute; 0: 1 s
	Round  time.Duration // how long one checkpoint is offered, if too few have cosigned it; 0: 10 s
	Now    func() time.Time
	Logger *slog.Logger
}

// State is what is known of one witness.
type State struct {
	Name, URL string
	Size      uint64    // of the last checkpoint that it has cosigned; 0: none since the start
	Time      time.Time // of that cosignature
	Err       error     // why the last question failed; nil: it did not
	Failures  uint64    // questions that failed since the start
}

// Status is the state of all.
type Status struct {
	Need      int
	Witnesses []State
	// Witnessed is the newest checkpoint that as many as are needed have cosigned; its
	// Note has their signatures, and is nil if there is none since the start.
	Witnessed ledger.Checkpoint
}

// Witnesses asks all of them.
type Witnesses struct {
	config Config
	all    []*asked

	mu        sync.Mutex
	round     round
	changed   chan struct{} // closed when anything below mu changes
	witnessed ledger.Checkpoint
}

// round is the checkpoint that is offered to all.
type round struct {
	cp       ledger.Checkpoint
	lines    [][]byte // the cosignatures
	answered map[*asked]bool
}

// asked is one witness and what it has said.
type asked struct {
	Witness
	old   uint64 // what it has cosigned last, as far as is known
	state State
}

// New makes Witnesses of the Config.
func New(c Config) (*Witnesses, error) {
	if c.Need < 0 || c.Need > len(c.Witnesses) {
		return nil, fmt.Errorf("witnesses: %d are needed, and there are %d", c.Need, len(c.Witnesses))
	}
	if c.Retry <= 0 {
		c.Retry = time.Second
	}
	if c.Round <= 0 {
		c.Round = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Witnesses{config: c, changed: make(chan struct{})}
	for _, each := range c.Witnesses {
		same := func(other *asked) bool {
			return other.Key.Name() == each.Key.Name() && other.Key.KeyHash() == each.Key.KeyHash()
		}
		if slices.ContainsFunc(w.all, same) {
			return nil, fmt.Errorf("witnesses: the key of %s stands there twice: it counts once", each.Key.Name())
		}
		w.all = append(w.all, &asked{Witness: each, state: State{Name: each.Key.Name(), URL: each.URL}})
	}
	return w, nil
}

// Status is how things stand; changed is closed when they do no more.
func (w *Witnesses) Status() (status Status, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	status = Status{Need: w.config.Need, Witnessed: w.witnessed}
	for _, a := range w.all {
		status.Witnesses = append(status.Witnesses, a.state)
	}
	return status, w.changed
}

// change runs do while nobody looks, and wakes those who wait.
func (w *Witnesses) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Run offers each new checkpoint to all witnesses, until ctx ends.
func (w *Witnesses) Run(ctx context.Context) error {
	if len(w.all) == 0 {
		return nil
	}
	group, asking := errgroup.WithContext(ctx)
	for _, a := range w.all {
		group.Go(func() error { return w.ask(asking, a) })
	}
	group.Go(func() error { return w.rounds(asking) })
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// rounds begins a round with the newest checkpoint when the round before has ended: as
// many as are needed have cosigned, or all have answered, or the time is up. So the
// witnesses sign the same checkpoints, however fast the ledger grows.
func (w *Witnesses) rounds(ctx context.Context) error {
	next := uint64(0) // the index that the next checkpoint must cover
	for {
		if err := w.config.Log.Wait(ctx, next); err != nil {
			return err
		}
		cp, err := w.config.Log.Checkpoint(ctx)
		if err != nil {
			return err
		}
		next = cp.Size
		w.change(func() { w.round = round{cp: cp, answered: map[*asked]bool{}} })
		up := time.NewTimer(w.config.Round)
		for waiting := true; waiting; {
			w.mu.Lock()
			over, changed := w.roundOver(), w.changed
			w.mu.Unlock()
			if over {
				break
			}
			select {
			case <-changed:
			case <-up.C:
				waiting = false
			case <-ctx.Done():
				up.Stop()
				return ctx.Err()
			}
		}
		up.Stop()
	}
}

// roundOver tells whether a round has come to its end before its time.
func (w *Witnesses) roundOver() bool {
	return len(w.round.answered) == len(w.all) || w.config.Need > 0 && len(w.round.lines) >= w.config.Need
}

// maxWait is the longest wait after a failure.
const maxWait = time.Minute

// ask offers the rounds' checkpoints to one witness.
func (w *Witnesses) ask(ctx context.Context, a *asked) error {
	wait, done := w.config.Retry, uint64(0)
	for {
		w.mu.Lock()
		cp, changed := w.round.cp, w.changed
		w.mu.Unlock()
		if cp.Size <= done {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		sig, err := w.submit(ctx, a, cp)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.answered(ctx, a, cp, sig, err)
		if err == nil {
			wait, done = w.config.Retry, cp.Size
			continue
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, maxWait)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answered notes what a witness has said.
func (w *Witnesses) answered(ctx context.Context, a *asked, cp ledger.Checkpoint, sig cosign.Cosignature, err error) {
	if err == nil {
		w.config.Log.Cosign(cp, sig.Line)
	}
	before := a.state.Err
	w.change(func() {
		current := w.round.cp.Size == cp.Size
		if current {
			w.round.answered[a] = true
		}
		if a.state.Err = err; err != nil {
			a.state.Failures++
			return
		}
		a.state.Size, a.state.Time = cp.Size, sig.Time
		if !current {
			return
		}
		w.round.lines = append(w.round.lines, sig.Line)
		if w.config.Need > 0 && len(w.round.lines) >= w.config.Need {
			w.witnessed = cp
			w.witnessed.Note = slices.Concat(append([][]byte{bare(cp.Note)}, w.round.lines...)...)
		}
	})
	name, size := slog.String("witness", a.Key.Name()), slog.Uint64("size", cp.Size)
	switch {
	case errors.Is(err, errOtherTree):
		w.config.Logger.ErrorContext(ctx, "a witness has seen another history of this ledger", name, size, slog.Any("error", err))
	case err != nil && (before == nil || before.Error() != err.Error()):
		w.config.Logger.WarnContext(ctx, "a witness does not cosign", name, size, slog.Any("error", err))
	case err == nil && before != nil:
		w.config.Logger.InfoContext(ctx, "a witness cosigns again", name, size)
	}
}
