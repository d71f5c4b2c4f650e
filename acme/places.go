package acme

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// place is where a request is worked on, once all of it has arrived.
type place int

// The places. What begins something takes one of all, and only while less than a
// quarter of them are taken, so that what has begun finds one; revocations and the questions
// that everybody may put have theirs apart.
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

// room is whose places it takes.
func (p place) room() place {
	if p == beginPlace {
		return anyPlace
	}
	return p
}

// The default places: as many for each core as it works off in a second. A quarter of
// two cores' is 256: 64 clients always find one.
const (
	placesPerCore = 512
	maxPlaces     = 4096
	revokePlaces  = 64
	askPlaces     = 64
)

// DefaultPlaces are the Places of a Config that does not say them, by the number of
// cores.
func DefaultPlaces(cores int) int { return min(placesPerCore*cores, maxPlaces) }

// errBusy: all places are taken, or a holder's share of them. It is counted, and not
// logged each time.
var errBusy = errors.New("all places are taken")

// holder is who takes a place: an address until an account has proven itself. An
// address can hold half of the places, an account a sixteenth: a quarter of what lets
// others begin.
type holder struct {
	account bool
	name    string
}

// hold is a place that is taken; the zero hold is none.
type hold struct {
	kind place
	by   holder
}

// share is a holder in a room.
type share struct {
	room place
	by   holder
}

// places are how many requests are worked on at once; further ones are refused.
type places struct {
	most [allPlaces]int // of begin: what may be taken of all before

	mu      sync.Mutex
	taken   [allPlaces]int
	held    map[share]int
	refused [allPlaces]uint64
}

func newPlaces(all int) *places {
	return &places{most: [allPlaces]int{0, all, max(all/4, 2), revokePlaces, askPlaces}, held: map[share]int{}}
}

// most is how many of a room's places a holder can have. Where only one sort of
// request goes, a fleet's one account can have half.
func (h holder) most(room place, places int) int {
	if h.account && room == anyPlace {
		return max(places/16, 1)
	}
	return max(places/2, 1)
}

// take takes a place, which give gives back; it never waits.
func (p *places) take(kind place, by holder) (hold, error) {
	if kind == noPlace {
		return hold{}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	room := kind.room()
	if p.taken[room] >= p.most[kind] {
		return hold{}, p.refuse(kind)
	}
	if err := p.claim(kind, by); err != nil {
		return hold{}, err
	}
	p.taken[room]++
	if kind != room {
		p.taken[kind]++
	}
	return hold{kind, by}, nil
}

// claim takes a part of a holder's share.
func (p *places) claim(kind place, by holder) error {
	if err := p.exhausted(kind, by); err != nil {
		return err
	}
	p.held[share{kind.room(), by}]++
	return nil
}

// exhausted refuses a holder who has its share.
func (p *places) exhausted(kind place, by holder) error {
	most := by.most(kind.room(), p.most[kind.room()])
	if p.held[share{kind.room(), by}] < most {
		return nil
	}
	p.refused[kind]++
	whose := "address"
	if by.account {
		whose = "account"
	}
	f := refuse(RateLimited, "%d requests of this %s are under way, which are as many as one may have; wait for their answers", most, whose)
	return again(f)
}

// pass hands a place on to another holder, unless it has its share.
func (p *places) pass(h *hold, to holder) error {
	if h.kind == noPlace {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.claim(h.kind, to); err != nil {
		return err
	}
	p.release(*h)
	h.by = to
	return nil
}

// release gives back the part of the holder's share.
func (p *places) release(h hold) {
	s := share{h.kind.room(), h.by}
	if p.held[s]--; p.held[s] == 0 {
		delete(p.held, s)
	}
}

func (p *places) give(h hold) {
	if h.kind == noPlace {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(h)
	room := h.kind.room()
	p.taken[room]--
	if h.kind != room {
		p.taken[h.kind]--
	}
}

// refuse counts, and refuses for the lack of places.
func (p *places) refuse(kind place) error {
	p.refused[kind]++
	return again(refuse(RateLimited, "the server has too much to do; try again in a moment").with(http.StatusServiceUnavailable))
}

// again says when to come again, not to all the same.
func again(f *fault) error {
	f.retry = time.Duration(1+rand.IntN(3)) * time.Second //nolint:gosec // jitter
	return f.because(errBusy)
}

// enter takes the request's place for the peer's address, until leave.
func (q *request) enter(kind place) (err error) {
	q.place, err = q.server.places.take(kind, holder{name: addressKey(q.r.RemoteAddr)})
	return err
}

// identify has the place count as the account's, which has proven itself.
func (q *request) identify(account string) error {
	return q.server.places.pass(&q.place, holder{true, account})
}

// leave gives it back: at the latest before the answer is written, which a peer can
// make last.
func (q *request) leave() {
	q.server.places.give(q.place)
	q.place = hold{}
}

// Load is what is under way and what was refused, by place.
type Load struct {
	Taken   map[string]int
	Refused map[string]uint64 // since New
}

// Load is the load at this time.
func (s *Server) Load() Load {
	l := Load{Taken: map[string]int{}, Refused: map[string]uint64{}}
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	for kind := anyPlace; kind < allPlaces; kind++ {
		l.Taken[kind.String()], l.Refused[kind.String()] = s.places.taken[kind], s.places.refused[kind]
	}
	return l
}
