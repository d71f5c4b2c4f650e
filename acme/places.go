package acme

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// place is where a request is worked on, once all of it has arrived.
type place int

// The places. What begins something takes one of its own and one of all, so that
// what has begun finds one; revocations and the questions that everybody may put
// have theirs apart.
const (
	noPlace place = iota // it costs nothing
	anyPlace
	beginPlace
	revokePlace
	askPlace
	allPlaces
)

// String is the place as metrics name it.
func (p place) String() string {
	return [...]string{"none", "any", "begin", "revoke", "ask"}[p]
}

const (
	defaultPlaces = 1024
	revokePlaces  = 64
	askPlaces     = 64
)

// errBusy: all places are taken. It is counted, and not logged each time.
var errBusy = errors.New("all places are taken")

// places are how many requests are worked on at once; further ones are refused.
type places struct {
	taken   [allPlaces]chan struct{}
	refused [allPlaces]atomic.Uint64
}

func newPlaces(all int) *places {
	p := &places{}
	for kind, n := range [allPlaces]int{0, all, max(all/2, 1), revokePlaces, askPlaces} {
		p.taken[kind] = make(chan struct{}, n)
	}
	return p
}

// take takes a place, which give gives back; it never waits.
func (p *places) take(kind place) error {
	if kind == noPlace {
		return nil
	}
	if !p.try(kind) {
		return p.refuse(kind)
	}
	if kind == beginPlace && !p.try(anyPlace) {
		<-p.taken[beginPlace]
		return p.refuse(kind)
	}
	return nil
}

func (p *places) try(kind place) bool {
	select {
	case p.taken[kind] <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p *places) give(kind place) {
	switch kind {
	case noPlace:
		return
	case beginPlace:
		<-p.taken[anyPlace]
	}
	<-p.taken[kind]
}

// refuse says when to come again, not to all the same.
func (p *places) refuse(kind place) error {
	p.refused[kind].Add(1)
	f := refuse(RateLimited, "the server has too much to do; try again in a moment").with(http.StatusServiceUnavailable).because(errBusy)
	f.retry = time.Duration(1+rand.IntN(3)) * time.Second //nolint:gosec // jitter
	return f
}

// enter takes the request's place, until leave.
func (q *request) enter(kind place) error {
	if err := q.server.places.take(kind); err != nil {
		return err
	}
	q.place = kind
	return nil
}

// leave gives it back: at the latest before the answer is written, which a peer can
// make last.
func (q *request) leave() {
	q.server.places.give(q.place)
	q.place = noPlace
}

// Load is what is under way and what was refused, by place.
type Load struct {
	Taken   map[string]int
	Refused map[string]uint64 // since New
}

// Load is the load at this time.
func (s *Server) Load() Load {
	l := Load{Taken: map[string]int{}, Refused: map[string]uint64{}}
	for kind := anyPlace; kind < allPlaces; kind++ {
		l.Taken[kind.String()], l.Refused[kind.String()] = len(s.places.taken[kind]), s.places.refused[kind].Load()
	}
	return l
}
