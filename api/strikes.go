package api

import (
	"errors"
	"time"

	"github.com/certwright/certwright/ca/quota"
	"github.com/certwright/certwright/problem"
)

// strikes hold back the requester who asks in vain again and again, and nobody
// else who may share its address. What succeeds costs nothing here.
type strikes struct{ requesters *quota.Quotas }

func newStrikes(perMinute int) *strikes {
	return &strikes{requesters: quota.New(quota.Config{PerMinute: perMinute})}
}

// check refuses a call whose requester has no refusal left. The admin
// socket is never held back.
func (s *strikes) check(c *call, now time.Time) error {
	if c.credentials.Peer != nil {
		return nil
	}
	if !s.requesters.Spent(c.principal.String(), now) {
		return nil
	}
	return &problem.Problem{
		Kind: problem.RateLimited, Rule: "refusals of one requester", Help: "Wait, and mend the request: its refusals say what is wrong.",
		Detail: "too many of these requests were refused in the last minute",
	}
}

// count counts a refusal, if it is the caller's doing.
func (s *strikes) count(c *call, err error, now time.Time) {
	var p *problem.Problem
	if !errors.As(err, &p) {
		return
	}
	switch p.Kind {
	case problem.Internal, problem.Overloaded, problem.Unavailable, problem.RateLimited:
		return
	}
	s.take(c, now)
}

// take takes one of the refusals that the requester has.
func (s *strikes) take(c *call, now time.Time) {
	if c.credentials.Peer == nil {
		s.requesters.Take(c.principal.String(), now)
	}
}
