package acme

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of the pool.
const (
	maxWaiting    = 1 << 14          // validations in memory; more wait in the store
	accountWaits  = 1 << 10          // of them one account's; more are refused
	resumeEvery   = 15 * time.Second // how often the store is looked through for those
	accountsShare = 4                // an account has at most this part of the workers
	maxAwait      = 500 * time.Millisecond
)

// task is the validation of an authorization.
type task struct {
	account, authz string
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
	share  int

	mu      sync.Mutex
	waiting []*task          // in the order of their coming
	known   map[string]*task // waiting or running, by authorization
	counted map[string]int   // known, by account
	running map[string]int   // by account
	wake    chan struct{}    // closed when something has changed
}

func newPool(s *Server) *pool {
	return &pool{
		server: s, share: max(1, s.config.Workers/accountsShare),
		known: map[string]*task{}, counted: map[string]int{}, running: map[string]int{}, wake: make(chan struct{}),
	}
}

// full tells whether an account has as many validations waiting as it may.
func (p *pool) full(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counted[account] >= p.server.config.MaxWaiting
}

// add has an authorization validated, unless that is under way. When others have
// filled the pool, an account has still room for one.
func (p *pool) add(account, authz string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := maxWaiting
	if p.counted[account] == 0 {
		room *= 2
	}
	if p.known[authz] != nil || len(p.known) >= room {
		return
	}
	p.counted[account]++
	p.push(&task{account: account, authz: authz, due: p.server.now(), tried: make(chan struct{})})
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
	if t == nil {
		return
	}
	timer := time.NewTimer(maxAwait)
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
	close(p.wake)
	p.wake = make(chan struct{})
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

// next is a task that is due, of the account that has the fewest workers; nil at the
// end.
func (p *pool) next(ctx context.Context) *task {
	for {
		t, wait, wake := p.pick()
		if t != nil {
			return t
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (p *pool) pick() (*task, time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := p.server.now(), time.Hour
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
		return nil, wait, p.wake
	}
	t := p.waiting[best]
	p.waiting = slices.Delete(p.waiting, best, best+1)
	p.running[t.account]++
	return t, 0, nil
}

// done gives the worker back; again is when the task is tried again, nil if it has
// ended.
func (p *pool) done(t *task, again *time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[t.account]--; p.running[t.account] == 0 {
		delete(p.running, t.account)
	}
	t.first.Do(func() { close(t.tried) })
	if again == nil {
		delete(p.known, t.authz)
		if p.counted[t.account]--; p.counted[t.account] == 0 {
			delete(p.counted, t.account)
		}
		p.changed()
		return
	}
	t.due = *again
	p.push(t)
}

// work validates until ctx ends.
func (p *pool) work(ctx context.Context) error {
	for {
		t := p.next(ctx)
		if t == nil {
			return nil
		}
		again, problem := p.server.validate(ctx, t)
		p.mu.Lock()
		t.last = problem
		p.mu.Unlock()
		p.done(t, again)
	}
}
