package acme

// Place is a sort of places, for tests that fill them.
type Place = place

// The sorts that tests fill.
const (
	AnyPlace    = anyPlace
	BeginPlace  = beginPlace
	RevokePlace = revokePlace
	AskPlace    = askPlace
)

// Take takes a place.
func (s *Server) Take(kind Place) error { return s.places.take(kind) }

// Give gives it back.
func (s *Server) Give(kind Place) { s.places.give(kind) }
