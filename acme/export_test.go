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

// Hold is a place that is taken.
type Hold = hold

// Take takes a place for an address, or for an account.
func (s *Server) Take(kind Place, name string, account bool) (Hold, error) {
	return s.places.take(kind, holder{account, name})
}

// Pass hands a place on to an account.
func (s *Server) Pass(h *Hold, account string) error { return s.places.pass(h, holder{true, account}) }

// Give gives it back.
func (s *Server) Give(h Hold) { s.places.give(h) }
