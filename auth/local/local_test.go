package local

import (
	"errors"
	"os"
	"testing"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

func TestAuthenticate(t *testing.T) {
	own := uint32(os.Geteuid())
	tests := []struct {
		name  string
		uids  []uint32
		peer  *auth.Peer
		admin bool
		err   problem.Kind // Internal: ErrNotMine
	}{
		{name: "root", peer: &auth.Peer{UID: 0}, admin: true},
		{name: "own user", peer: &auth.Peer{UID: own}, admin: true},
		{name: "other user", peer: &auth.Peer{UID: own + 4711}, err: problem.PermissionDenied},
		{name: "no socket"},
		{name: "configured", uids: []uint32{1000}, peer: &auth.Peer{UID: 1000}, admin: true},
		{name: "root left out", uids: []uint32{1000}, peer: &auth.Peer{UID: 0}, err: problem.PermissionDenied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := New(Config{UIDs: test.uids}).Authenticate(t.Context(), auth.Credentials{Peer: test.peer})
			switch {
			case test.admin && (err != nil || !p.Has(identity.RoleAdmin) || p.String() != "local_socket:admin"):
				t.Errorf("%v, %v; want the admin", p, err)
			case test.admin:
			case test.peer == nil && !errors.Is(err, auth.ErrNotMine):
				t.Errorf("%v; want ErrNotMine", err)
			case test.peer != nil && problem.KindOf(err) != test.err:
				t.Errorf("%v; want %v", err, test.err)
			}
		})
	}
}
