// Package auth is what proves who is calling: the credentials of one call, and
// the contract of an authenticator. The authenticators are rooms of their own:
// local (the admin socket) and token (join tokens).
package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/certwright/certwright/identity"
)

// ErrNotMine is an authenticator's answer to credentials that are not of its
// sort: the next one is asked.
var ErrNotMine = errors.New("credentials of another sort")

// Credentials are what a call shows. Only what the transport itself knows and
// the Authorization header are in it: no other header ever makes an identity.
type Credentials struct {
	// Authorization is the header's (in gRPC the metadata's) one value; empty if
	// there is none.
	Authorization string
	// Peer is the process at the other end of the admin socket; nil on any other
	// transport.
	Peer *Peer
	// TLS is the state of the connection; nil on the admin socket.
	TLS *tls.ConnectionState
	// RemoteAddr is the transport's address of the peer; empty on a socket.
	RemoteAddr string
}

// Peer is a process as the kernel names it when it connects (SO_PEERCRED).
type Peer struct {
	PID int32
	UID uint32
	GID uint32
}

// Empty tells whether the call shows nothing that could prove an identity.
func (c Credentials) Empty() bool {
	return c.Authorization == "" && c.Peer == nil && (c.TLS == nil || len(c.TLS.PeerCertificates) == 0)
}

// Bearer is the token of an Authorization header of the scheme Bearer (RFC 6750
// §2.1); false if the header is of another scheme or shape, or longer than 8 KiB.
func Bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > 8192 {
		return "", false
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return token, true
}

// Authenticator proves one sort of credentials. It has three outcomes:
//
//   - a principal and nil: these credentials prove it;
//   - ErrNotMine: the credentials are of another sort, ask the next;
//   - any other error: the call is refused and no other authenticator is asked.
//     A *problem.Problem goes to the caller as it is, anything else becomes an
//     internal error.
//
// It may be called by many goroutines at once.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credentials) (identity.Principal, error)
}
