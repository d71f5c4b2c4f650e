package acme

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the pool.
const (
	maxWaiting    = 1 << 14          // validations in memory; more wait in the store
	accountWaits  = 1 << 10          // of them one account's; more are refused
	resumeEvery   = 15 * time.Second // how often the store is looked through for those
	accountsShare = 4                // an account has at most this part of the workers
	maxAwait      = 500 * time.Millisecond
	maxFirst      = 200 * time.Millisecond // for which a challenge need not stand in the store
)

// task is the validation of an authorization.
type task struct {
	account, authz string
	kind           string // of the challenge, if the store does not say it yet
	attempt        int
	due            time.Time
	last           *Document     // of the attempt before
	tried          chan struct{} // closed after the first attempt
	first          sync.Once
}

// pool is what waits to be validated, and who validates. What it forgets at its
// end stands in the store, as challenges in processing.
type pool struct {
	server *Server
	share  int // of the workers, for one account

	mu      sync.Mutex
	waiting []*task          // in the order of their coming
	known   map[string]*task // waiting or running, by authorization
	counted map[string]int   // known, by account
	running map[string]int   // by account
	busy    int              // workers that are
	wake    chan struct{}    // holds one when something has changed
}

func newPool(s *Server) *pool {
	return &pool{
		server: s, share: max(1, s.config.Workers/accountsShare),
		known: map[string]*task{}, counted: map[string]int{}, running: map[string]int{}, wake: make(chan struct{}, 1),
	}
}

// full tells whether an account has as many validations waiting as it may.
func (p *pool) full(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counted[account] >= p.server.config.MaxWaiting
}

// knows tells whether an authorization is being validated.
func (p *pool) knows(authz string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[authz] != nil
}

// add has an authorization validated, unless that is under way. It returns the
// task, nil if there are too many. When others have filled the pool, an account has
// still room for one.
func (p *pool) add(account, authz, kind string) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := maxWaiting
	if p.counted[account] == 0 {
		room *= 2
	}
	if t := p.known[authz]; t != nil || len(p.known) >= room {
		return t
	}
	t := &task{account: account, authz: authz, kind: kind, due: p.server.now(), tried: make(chan struct{})}
	p.counted[account]++
	p.push(t)
	return t
}

// room tells whether the pool takes more than one validation of an account.
func (p *pool) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known) < maxWaiting
}

// await waits a little for the first attempt at an authorization that is being
// validated: most are decided by it, and the client need not ask again.
func (p *pool) await(ctx context.Context, authz string) {
	p.mu.Lock()
	t := p.known[authz]
	p.mu.Unlock()
	if t != nil {
		t.await(ctx, maxAwait)
	}
}

// await waits for the first attempt.
func (t *task) await(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-t.tried:
	case <-timer.C:
	}
}

func (p *pool) push(t *task) {
	p.known[t.authz] = t
	p.waiting = append(p.waiting, t)
	p.changed()
}

func (p *pool) changed() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// lastError is why the attempt before failed, while there will be another.
func (p *pool) lastError(authz string) *Document {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.known[authz]; t != nil {
		return t.last
	}
	return nil
}

// next is a task that is due, of the account that has the fewest workers, once there
// is a worker for it; nil at the end.
func (p *pool) next(ctx context.Context) *task {
	for {
		t, wait := p.pick()
		if t != nil {
			return t
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-p.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (p *pool) pick() (*task, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := p.server.now(), time.Hour
	if p.busy >= p.server.config.Workers {
		return nil, wait
	}
	best, fewest := -1, p.share
	for i, t := range p.waiting {
		if p.running[t.account] >= fewest {
			continue
		}
		if left := t.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if best, fewest = i, p.running[t.account]; fewest == 0 {
			break
		}
	}
	if best < 0 {
		return nil, wait
	}
	t := p.waiting[best]
	p.waiting = slices.Delete(p.waiting, best, best+1)
	p.running[t.account]++
	p.busy++
	return t, 0
}

// done gives the worker back; again is when the task is tried again, nil if it has
// ended.
func (p *pool) done(t *task, again *time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if p.running[t.account]--; p.running[t.account] == 0 {
		delete(p.running, t.account)
	}
	t.first.Do(func() { close(t.tried) })
	if again == nil {
		delete(p.known, t.authz)
		if p.counted[t.account]--; p.counted[t.account] == 0 {
			delete(p.counted, t.account)
		}
		if len(p.waiting) > 0 {
			p.changed()
		}
		return
	}
	t.due = *again
	p.push(t)
}

// run validates until ctx ends.
func (p *pool) run(ctx context.Context) error {
	var g errgroup.Group
	for {
		t := p.next(ctx)
		if t == nil {
			return g.Wait()
		}
		g.Go(func() error {
			p.work(ctx, t)
			return nil
		})
	}
}

// work makes one attempt at a task.
func (p *pool) work(ctx context.Context, t *task) {
	again, problem := p.server.validate(ctx, t)
	p.mu.Lock()
	t.last = problem
	p.mu.Unlock()
	p.done(t, again)
}
