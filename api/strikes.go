package api

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/certwright/certwright/ca/quota"
	"github.com/certwright/certwright/problem"
)

// addressShare is how many times the refusals of one requester an address may
// have: there are several behind some.
const addressShare = 4

// strikes hold back who asks in vain again and again: a requester, and an address.
// What succeeds costs nothing here.
type strikes struct {
	requesters, addresses *quota.Quotas
}

func newStrikes(perMinute int) *strikes {
	return &strikes{
		requesters: quota.New(quota.Config{PerMinute: perMinute}),
		addresses:  quota.New(quota.Config{PerMinute: addressShare * perMinute}),
	}
}

// check refuses a call whose requester or address has no refusal left. The admin
// socket is never held back.
func (s *strikes) check(c *call, now time.Time) error {
	if c.credentials.Peer != nil {
		return nil
	}
	p := &problem.Problem{
		Kind: problem.RateLimited, Rule: "refusals of one requester", Help: "Wait, and mend the request: its refusals say what is wrong.",
		Detail: "too many of these requests were refused in the last minute",
	}
	if s.requesters.Spent(c.principal.String(), now) {
		return p
	}
	if at := source(c.credentials.RemoteAddr); at != "" && s.addresses.Spent(at, now) {
		p.Rule = "refusals of one address"
		return p
	}
	return nil
}

// count counts a refusal, if it is the caller's doing.
func (s *strikes) count(c *call, err error, now time.Time) {
	if c.credentials.Peer != nil {
		return
	}
	var p *problem.Problem
	if !errors.As(err, &p) {
		return
	}
	switch p.Kind {
	case problem.Internal, problem.Overloaded, problem.Unavailable, problem.RateLimited:
		return
	}
	s.requesters.Take(c.principal.String(), now)
	if at := source(c.credentials.RemoteAddr); at != "" {
		s.addresses.Take(at, now)
	}
}

// source is the address of host:port: of IPv6 the network of 64 bits, which is one
// machine's. Empty: there is none.
func source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return ""
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.Masked().String()
		}
	}
	return address.String()
}
