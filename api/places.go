package api

import (
	"github.com/certwright/certwright/problem"
)

// The places of those who must get through whatever all others do.
const (
	publicCalls   = 64 // of methods that anybody may call: health
	socketCalls   = 64 // over the admin socket
	socketStreams = 16
)

// places are how many calls may be under way at once: the public methods' and the
// admin socket's are apart from all others, so that nobody who is remote can take
// them from an admin or a health check.
type places struct {
	calls, streams             chan struct{}
	public                     chan struct{}
	socketCalls, socketStreams chan struct{}
}

func newPlaces(l Limits) places {
	return places{
		calls: make(chan struct{}, l.Calls), streams: make(chan struct{}, l.Streams), public: make(chan struct{}, publicCalls),
		socketCalls: make(chan struct{}, socketCalls), socketStreams: make(chan struct{}, socketStreams),
	}
}

// of is where a call takes its place.
func (p *places) of(a access, c *call, stream bool) chan struct{} {
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
	}
	return p.calls
}

// entrance is one call's way to its place.
type entrance struct {
	places chan struct{}
	inside bool
}

// enter takes a place, once; there may be none.
func (e *entrance) enter() error {
	if e.inside {
		return nil
	}
	select {
	case e.places <- struct{}{}:
		e.inside = true
		return nil
	default:
		return &problem.Problem{
			Kind: problem.Overloaded, Detail: "too many calls are under way", Help: "Try again in a moment.",
		}
	}
}

// leave gives the place back.
func (e *entrance) leave() {
	if e.inside {
		<-e.places
	}
}
