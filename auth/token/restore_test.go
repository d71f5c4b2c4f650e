package token_test

import (
	"testing"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// TestRestorer: a token that came back in part is taken away; all are, if entries
// stay lost.
func TestRestorer(t *testing.T) {
	for name, test := range map[string]struct {
		all  bool
		gone int
	}{"all came back": {false, 1}, "entries stay lost": {true, 2}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			revoked, _ := f.make(t, spec())
			f.make(t, spec())
			r := token.NewRestorer(f.store)
			if _, err := r.Back(entry.Entry{}, entry.Action{Action: "token.revoked", Target: revoked.ID}); err != nil {
				t.Fatal(err)
			}
			commands, err := r.Last(t.Context(), "local_socket:admin", test.all)
			if err != nil {
				t.Fatal(err)
			}
			deleted := 0
			for _, c := range commands {
				if _, ok := c.(storage.DeleteRecord); ok {
					deleted++
				}
			}
			if deleted != test.gone || r.Lost() != test.gone {
				t.Errorf("%d tokens are taken away, %d are lost; want %d", deleted, r.Lost(), test.gone)
			}
		})
	}
}
