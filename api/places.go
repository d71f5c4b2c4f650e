package api

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// The places of those who must get through whatever all others do.
const (
	publicCalls   = 64 // of methods that anybody may call: health
	revokeCalls   = 64 // revocations
	socketCalls   = 64 // over the admin socket
	socketStreams = 16
)

// room is a number of places, of which one caller can have a share.
type room struct {
	name  string
	most  int
	share int    // 0: all of them
	whose string // whom the share is for

	mu      sync.Mutex
	taken   int
	held    map[string]int // by caller, where there is a share
	refused uint64
}

// newRoom makes a room without shares.
func newRoom(name string, most int) *room { return newSharedRoom(name, most, 0, "") }

func newSharedRoom(name string, most, share int, whose string) *room {
	return &room{name: name, most: most, share: share, whose: whose, held: map[string]int{}}
}

// take takes a place for a caller; it never waits.
func (r *room) take(who string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	busy := &problem.Problem{Kind: problem.Overloaded, Detail: "too many calls are under way", Help: "Try again in a moment."}
	switch {
	case r.taken >= r.most:
	case r.share > 0 && r.held[who] >= r.share:
		busy.Detail = fmt.Sprintf("%d calls of this %s are under way, which are as many as one may have", r.share, r.whose)
		busy.Help = "Wait for their answers before asking for more."
	default:
		r.taken++
		if r.share > 0 {
			r.held[who]++
		}
		return nil
	}
	r.refused++
	return busy
}

func (r *room) give(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	if r.share == 0 {
		return
	}
	if r.held[who]--; r.held[who] == 0 {
		delete(r.held, who)
	}
}

// places are how many calls may be under way at once: the public methods',
// revocations' and the admin socket's are apart from all others, so that nobody who
// is remote can take them from an admin or a health check. One requester can have
// half of those that all share.
type places struct {
	calls, streams             *room
	public, revoke, files      *room
	socketCalls, socketStreams *room
}

func newPlaces(l Limits) places {
	return places{
		calls:   newSharedRoom("calls", l.Calls, (l.Calls+1)/2, "requester"),
		streams: newSharedRoom("streams", l.Streams, (l.Streams+1)/2, "requester"),
		revoke:  newSharedRoom("revoke", revokeCalls, revokeCalls/2, "requester"),
		files:   newSharedRoom("files", publishedRequests, publishedShare, "address"),
		public:  newRoom("public", publicCalls), socketCalls: newRoom("socket", socketCalls), socketStreams: newRoom("socket-streams", socketStreams),
	}
}

// of is where a call takes its place.
func (p *places) of(method string, a access, c *call, stream bool) *room {
	socket := c.credentials.Peer != nil
	switch {
	case socket && stream:
		return p.socketStreams
	case socket:
		return p.socketCalls
	case a.public:
		return p.public
	case stream:
		return p.streams
	case method == certwrightv1.CertificateService_RevokeCertificate_FullMethodName,
		method == certwrightv1.CertificateService_BulkRevokeCertificates_FullMethodName:
		return p.revoke
	}
	return p.calls
}

// Load is what is under way and what was refused, by the name of the places.
type Load struct {
	Taken   map[string]int
	Refused map[string]uint64 // since New
}

// Load is the load at this time.
func (s *Server) Load() Load {
	l := Load{Taken: map[string]int{}, Refused: map[string]uint64{}}
	p := &s.places
	for _, r := range []*room{p.calls, p.streams, p.public, p.revoke, p.files, p.socketCalls, p.socketStreams} {
		r.mu.Lock()
		l.Taken[r.name], l.Refused[r.name] = r.taken, r.refused
		r.mu.Unlock()
	}
	return l
}

// entrance is one call's way to its place.
type entrance struct {
	room   *room
	who    string
	inside bool
}

// enter takes a place, once; there may be none.
func (e *entrance) enter() error {
	if e.inside {
		return nil
	}
	if err := e.room.take(e.who); err != nil {
		return err
	}
	e.inside = true
	return nil
}

// leave gives the place back.
func (e *entrance) leave() {
	if e.inside {
		e.room.give(e.who)
	}
}

// comeAgain is when a caller who was sent away may try again: not all at the same
// time.
func comeAgain() time.Duration {
	return time.Second + rand.N(2*time.Second) //nolint:gosec // jitter
}
