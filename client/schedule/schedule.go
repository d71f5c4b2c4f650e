// Package schedule says when a certificate is renewed. It is arithmetic: time,
// randomness and what the CA said come in, the time of the next attempt comes out,
// and a Plan is a plain value that can be kept on disk.
//
// The rules:
//   - Renew at a random point of the window that the CA suggests (RFC 9773 §4.2).
//     Without one, from 7/12 to 3/4 of the life: two thirds on average. Never before the
//     window begins.
//   - After a failure wait a random time that doubles at most: from 1/15 to 1/3 of the
//     life, between a second and an hour, and at least as long as the CA says. Go on
//     past the expiry. A third of a life spreads those that an outage
//     has gathered: see the test with 10,000 agents.
//   - At most six attempts in an hour, or in a life if that is shorter.
//   - A certificate that is due as soon as it is there is renewed once more, and then
//     with the waits of failures.
package schedule

import (
	"math/rand/v2"
	"slices"
	"time"
)

// DefaultTries is how many attempts an hour has if Rules say nothing.
const DefaultTries = 6

// Bounds of what others may say or make us do.
const (
	minWait  = time.Second      // the shortest wait after a failure
	maxFirst = 10 * time.Minute // the longest bound of the first wait
	maxWait  = time.Hour        // the longest wait of our own
	maxTold  = 24 * time.Hour   // the longest wait that a CA can ask for, if the life is long
	minAsk   = time.Minute      // between two questions for the window
	maxAsk   = 24 * time.Hour
	noLife   = time.Hour // the life that is assumed while there is no certificate
	maxKept  = 64        // attempts that are kept
)

// Rules are the same for all certificates. The zero value is ready for use.
type Rules struct {
	// Tries is how many attempts are made in an hour, or in a life if that is
	// shorter. 0: DefaultTries; at most 60.
	Tries int
	// Rand is uniform in [0, 1). Nil: math/rand/v2.
	Rand func() float64
}

// Window is when the CA would have a certificate renewed.
type Window struct {
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
}

// Plan is one certificate's. It is changed by the methods of Rules only, and may be
// kept as JSON.
type Plan struct {
	NotBefore time.Time   `json:"not_before,omitzero"` // zero: there is no certificate
	NotAfter  time.Time   `json:"not_after,omitzero"`
	Obtained  time.Time   `json:"obtained,omitzero"`
	Window    Window      `json:"window,omitzero"`
	Due       time.Time   `json:"due,omitzero"`      // the point drawn from the window
	Ask       time.Time   `json:"ask,omitzero"`      // when to ask the CA for its window
	Retry     time.Time   `json:"retry,omitzero"`    // not before; zero: nothing has failed
	Failures  int         `json:"failures,omitzero"` // since the last certificate
	Hasty     int         `json:"hasty,omitzero"`    // certificates in a row that were due too soon
	Tries     []time.Time `json:"tries,omitzero"`
}

// life of the certificate.
func (p *Plan) life() time.Duration {
	if life := p.NotAfter.Sub(p.NotBefore); life > 0 {
		return life
	}
	return noLife
}

// Start is the plan of a certificate that is not there yet: it is due now.
func (r Rules) Start(now time.Time) Plan { return Plan{Due: now} }

// Renewed is the plan after an attempt that gave a certificate, or for one that was
// found. p is the plan before, whose attempts count on.
func (r Rules) Renewed(p Plan, notBefore, notAfter, now time.Time) Plan {
	q := Plan{NotBefore: notBefore, NotAfter: notAfter, Obtained: now, Ask: now, Tries: p.Tries}
	if !p.NotBefore.IsZero() && p.Due.Sub(p.Obtained) < p.life()/4 {
		q.Hasty = min(p.Hasty+1, maxKept)
	}
	q.Window = q.own()
	q.Due = r.within(q.Window)
	if q.Hasty > 0 {
		q.Retry = now.Add(r.wait(&q, q.Hasty))
	}
	return q
}

// own is the window of a certificate for which the CA suggests none. A backdated
// certificate begins to age when it is there.
func (p *Plan) own() Window {
	from := p.NotBefore
	if p.Obtained.After(from) && p.Obtained.Before(p.NotAfter) {
		from = p.Obtained
	}
	life := p.NotAfter.Sub(from)
	return Window{Start: from.Add(life / 12 * 7), End: from.Add(life / 4 * 3)}
}

// Suggested takes the window that the CA suggests, and when it wants to be asked
// again. A point that was drawn stays, if it lies in the window. A window without
// an end, or so late that the certificate could expire, is none.
func (r Rules) Suggested(p Plan, w Window, askAgain time.Duration, now time.Time) Plan {
	p.Ask = now.Add(r.around(min(max(askAgain, minAsk), maxAsk)))
	last := p.NotAfter.Add(-p.life() / 12)
	if p.NotBefore.IsZero() || w.End.IsZero() || w.End.Before(w.Start) || w.Start.After(last) {
		return p
	}
	if w.End.After(last) {
		w.End = last
	}
	p.Window = w
	if p.Due.Before(w.Start) || p.Due.After(w.End) {
		p.Due = r.within(w)
	}
	return p
}

// Hurry makes the certificate due now, because it is no longer what is wanted. Waits
// after failures, and the number of attempts, hold as before.
func (r Rules) Hurry(p Plan, now time.Time) Plan {
	if p.Due.After(now) {
		p.Due, p.Window = now, Window{Start: now, End: now}
	}
	return p
}

// Unanswered notes that the CA did not say when: the window stays as it is.
func (r Rules) Unanswered(p Plan, now time.Time) Plan {
	p.Ask = now.Add(r.around(min(max(p.life()/10, minAsk), maxWait)))
	return p
}

// Tried notes an attempt that begins now. Keep the plan before the attempt, so that
// a process that dies in it counts it.
func (r Rules) Tried(p Plan, now time.Time) Plan {
	p.Tries = append(slices.Clip(r.recent(p, now)), now) // a plan is a value: its copies share nothing that changes
	return p
}

// Failed notes that the attempt failed. told is how long the CA asks to wait; 0: it
// does not say.
func (r Rules) Failed(p Plan, told time.Duration, now time.Time) Plan {
	p.Failures = min(p.Failures+1, 1<<20)
	wait := r.wait(&p, p.Failures)
	if told = min(told, maxTold, max(p.life()/3, maxWait)); told > wait {
		wait = r.around(told)
	}
	p.Retry = now.Add(wait)
	return p
}

// Next is when the next attempt is made: now or earlier is at once.
func (r Rules) Next(p Plan, now time.Time) time.Time {
	next := p.Due
	// A wait that no rule gives comes from a clock that was set back.
	if p.Retry.After(next) && !p.Retry.After(now.Add(maxTold+maxTold/4)) {
		next = p.Retry
	}
	if tries := r.recent(p, now); len(tries) >= r.tries() {
		if free := tries[len(tries)-r.tries()].Add(r.period(p)); free.After(next) {
			next = free
		}
	}
	return next
}

// Recent is how many attempts count at this time.
func (r Rules) Recent(p Plan, now time.Time) int { return len(r.recent(p, now)) }

// recent are the attempts that count. What was noted in a future that is none does
// not.
func (r Rules) recent(p Plan, now time.Time) []time.Time {
	tries, period := p.Tries[max(0, len(p.Tries)-maxKept):], r.period(p)
	if slices.ContainsFunc(tries, now.Before) {
		tries = slices.DeleteFunc(slices.Clone(tries), now.Before)
	}
	for len(tries) > 0 && now.Sub(tries[0]) >= period {
		tries = tries[1:]
	}
	return tries
}

func (r Rules) tries() int {
	if r.Tries <= 0 {
		return DefaultTries
	}
	return min(r.Tries, 60)
}

// period is in what time the number of attempts is counted.
func (r Rules) period(p Plan) time.Duration { return min(max(p.life(), time.Minute), time.Hour) }

// wait is random: its bound doubles with each failure, and no more than half of it
// is random, so that what has failed together comes back evenly over a bound's length.
func (r Rules) wait(p *Plan, failures int) time.Duration {
	life := p.life()
	bound := min(max(life/15, 2*minWait), maxFirst)
	longest := min(max(life/3, 2*minWait), maxWait)
	for range min(failures-1, 16) {
		bound = min(2*bound, longest)
	}
	return bound/2 + time.Duration(r.random()*float64(bound/2))
}

// within is a random point of the window.
func (r Rules) within(w Window) time.Time {
	return w.Start.Add(time.Duration(r.random() * float64(w.End.Sub(w.Start))))
}

// around is d and up to a quarter more.
func (r Rules) around(d time.Duration) time.Duration {
	return d + time.Duration(r.random()*float64(d/4))
}

func (r Rules) random() float64 {
	if r.Rand == nil {
		return rand.Float64() //nolint:gosec // jitter, no secret
	}
	return min(max(r.Rand(), 0), 1)
}
