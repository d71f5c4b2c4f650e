package api

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
