package token_test

import (
	"testing"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// TestRestorer: a token that came back in part is taken away; all are, if entries
// stay lost. One that an earlier recovery lost is not entered again.
func TestRestorer(t *testing.T) {
	for name, test := range map[string]struct {
		action     string
		all        bool
		gone, lost int
	}{
		"all came back":     {"token.revoked", false, 1, 1},
		"entries stay lost": {"token.revoked", true, 2, 2},
		"lost before":       {"token.lost", false, 1, 0},
		"and now again":     {"token.lost", true, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			revoked, _ := f.make(t, spec())
			f.make(t, spec())
			r := token.NewRestorer(f.store)
			if _, err := r.Back(entry.Entry{}, entry.Action{Action: test.action, Target: revoked.ID}); err != nil {
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
			if deleted != test.gone || r.Lost() != test.lost || len(commands) != test.gone+test.lost {
				t.Errorf("%d tokens are taken away, %d are lost, in %d commands; want %d and %d", deleted, r.Lost(), len(commands), test.gone, test.lost)
			}
		})
	}
}
