package api

import (
	"context"
	"log/slog"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
)

// Fill takes n of the places of a name for a caller until give is called; false: there
// are not so many.
func (s *Server) Fill(name, who string, n int) (give func(), ok bool) {
	p := &s.places
	for _, r := range []*room{p.calls, p.streams, p.public, p.revoke, p.files, p.socketCalls, p.socketStreams} {
		if r.name != name {
			continue
		}
		for range n {
			if r.take(who) != nil {
				return nil, false
			}
		}
		return func() {
			for range n {
				r.give(who)
			}
		}, true
	}
	return nil, false
}

// Attended runs a stream of a method as the chain does for a caller of these roles.
func Attended(ctx context.Context, by auth.Authenticator, run func(context.Context) (any, error), roles ...identity.Role) error {
	s := &Server{methods: methods{"m": {roles: roles}}, config: Config{Authenticators: []auth.Authenticator{by}, Logger: slog.New(slog.DiscardHandler)}}
	_, err := s.attend(ctx, &call{credentials: auth.Credentials{Authorization: "Bearer x"}}, "m", run)
	return err
}
