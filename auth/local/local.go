// Package local makes admins of the processes that the kernel vouches for on
// the admin socket: root, and the user that the server itself runs as.
package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// AdminID is the ID of the principal of every admin on the socket: policies name
// it as "local_socket: admin".
const AdminID = "admin"

// Config of an Authenticator.
type Config struct {
	// UIDs are the users that are admins. Empty: root and the user this process
	// runs as.
	UIDs []uint32
}

// Authenticator proves the peers of the admin socket. See auth.Authenticator.
type Authenticator struct {
	admins map[uint32]bool
}

// New makes an Authenticator.
func New(c Config) *Authenticator {
	uids := c.UIDs
	if len(uids) == 0 {
		uids = []uint32{0, uint32(os.Geteuid())}
	}
	a := &Authenticator{admins: make(map[uint32]bool, len(uids))}
	for _, uid := range uids {
		a.admins[uid] = true
	}
	return a
}

// Authenticate answers the admin for a peer whose user is one, PermissionDenied
// for another user's process, and ErrNotMine for a call that did not come over
// the socket.
func (a *Authenticator) Authenticate(_ context.Context, c auth.Credentials) (identity.Principal, error) {
	if c.Peer == nil {
		return identity.Principal{}, auth.ErrNotMine
	}
	if !a.admins[c.Peer.UID] {
		return identity.Principal{}, &problem.Problem{
			Kind:   problem.PermissionDenied,
			Reason: "USER_NOT_ADMIN",
			Rule:   "admin socket",
			Value:  fmt.Sprintf("uid %d", c.Peer.UID),
			Detail: "this user is not an admin of the server",
			Help:   "Use the socket as root or as the server's own user, or show a join token.",
		}
	}
	return identity.Principal{
		Method:   identity.LocalSocket,
		ID:       AdminID,
		Roles:    []identity.Role{identity.RoleAdmin},
		Claims:   map[string]any{"uid": int64(c.Peer.UID)},
		Evidence: sha256.Sum256(fmt.Appendf(nil, "local_socket uid=%d", c.Peer.UID)),
	}, nil
}
