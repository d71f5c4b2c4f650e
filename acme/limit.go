package acme

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// The default limits, for an hour.
const (
	defaultAccounts      = 20_000
	defaultOrders        = 1_000_000
	defaultOrdersPerName = 20_000
	defaultFailures      = 1_000
)

// limits are the Server's limits in force.
type limits struct {
	accounts, orders, names, failures *limit
}

func newLimits(l Limits, now func() time.Time) limits {
	each := func(configured, usual int) *limit {
		if configured == 0 {
			configured = usual
		}
		return &limit{most: configured, now: now, young: map[string]time.Time{}}
	}
	return limits{
		accounts: each(l.Accounts, defaultAccounts), orders: each(l.Orders, defaultOrders),
		names: each(l.OrdersPerName, defaultOrdersPerName), failures: each(l.Failures, defaultFailures),
	}
}

// maxTracked is how many callers a limit remembers in one generation.
const maxTracked = 1 << 16

// limit lets each key do something so often in an hour, by the generic cell rate
// algorithm: a key's state is one time. It remembers at most two generations of
// maxTracked keys; under a flood of more, the longest unseen are forgotten.
type limit struct {
	most int // negative: no limit
	now  func() time.Time

	mu         sync.Mutex
	young, old map[string]time.Time // when all that was done is paid off
	tidyAt     int                  // as many young ones are looked through
}

// tidyFrom is how many keys are kept without a look at whether they still count.
const tidyFrom = 1024

// tidy forgets the keys of which all is paid off: they are as good as never seen.
func (l *limit) tidy(now time.Time) {
	if len(l.young) < max(l.tidyAt, tidyFrom) {
		return
	}
	for key, paid := range l.young {
		if !paid.After(now) {
			delete(l.young, key)
		}
	}
	l.tidyAt = 2 * len(l.young)
}

func (l *limit) step() time.Duration { return time.Hour / time.Duration(l.most) }

// take does it once. It returns 0, or how long the key must wait.
func (l *limit) take(key string) time.Duration { return l.try(key, true) }

// wait is what take would return.
func (l *limit) wait(key string) time.Duration { return l.try(key, false) }

func (l *limit) try(key string, do bool) time.Duration {
	if l.most < 0 {
		return 0
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	paid, ok := l.young[key]
	if !ok {
		paid = l.old[key]
	}
	if paid.Before(now) {
		paid = now
	}
	if over := paid.Add(l.step()).Sub(now) - time.Hour; over > 0 {
		return max(over, time.Second)
	}
	if !do {
		return 0
	}
	l.tidy(now)
	if len(l.young) >= maxTracked && !ok {
		l.old, l.young, l.tidyAt = l.young, map[string]time.Time{}, 0
	}
	l.young[key] = paid.Add(l.step())
	return 0
}

// limited is the refusal of what must wait.
func limited(wait time.Duration, what string) error {
	f := refuse(RateLimited, "too many %s in the last hour; try again in %s", what, wait.Round(time.Second))
	f.retry = wait
	return f
}

// addressKey is the address of the peer, or the /64 of an IPv6 address.
func addressKey(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}
