package ocsp

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

// TestRevokedAtEachPoint: a revocation that arrives after any step of an issuance,
// where the server lives on or dies there. The answer is good only of what is
// complete, and revoked from the revocation on, also after the next start.
func TestRevokedAtEachPoint(t *testing.T) {
	for _, point := range []ca.Point{ca.PointReserved, ca.PointSigned, ca.PointCompleted} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dies %t", point, dies), func(t *testing.T) {
				o := &ordered{t: t, point: point, dies: dies}
				o.run()
			})
		}
	}
}

// TestNeverGoodBefore: without a revocation, nothing is good before it is complete;
// what a dead server left behind is revoked at the next start.
func TestNeverGoodBefore(t *testing.T) {
	for _, point := range []ca.Point{ca.PointReserved, ca.PointSigned, ca.PointCompleted} {
		t.Run(string(point), func(t *testing.T) {
			o := &ordered{t: t, point: point, dies: true, spare: true}
			o.run()
		})
	}
}

// ordered is one issuance in which something happens at a point.
type ordered struct {
	t     *testing.T
	point ca.Point
	dies  bool // the server, at the point
	spare bool // nobody revokes

	cfg       ca.Config
	authority *ca.Authority
	town      *town
	armed     bool
	row       storage.Certificate
	said      []int // the statuses, in order
}

var errDied = errors.New("died")

func (o *ordered) run() {
	t := o.t
	authority, responder, issuer, cfg := withAuthority(t, newKey(t, "ecdsa-p256"), o.reach)
	o.authority, o.cfg, o.armed = authority, cfg, true
	o.town = &town{Responder: responder, issuer: newAuthority(t, "ecdsa-p256", "x")}
	o.town.issuer.cert = issuer
	issued, err := authority.Issue(t.Context(), identity.Request{
		Kind: identity.X509, Profile: "server", PublicKey: newKey(t, "ecdsa-p256").Public(), Identifiers: storagetest.DNS("svc.internal"),
		Principal: identity.Principal{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
	}, ca.Attach{})
	complete := o.point == ca.PointCompleted
	if delivered := err == nil; delivered != (complete && !o.dies) || !delivered && issued.Certificate.DER != nil {
		t.Errorf("the caller got %d octets, %v", len(issued.Certificate.DER), err)
	}
	o.ask()
	if o.cfg.Fault, o.armed = nil, false; o.dies {
		if o.authority, err = ca.New(o.cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := o.authority.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.ask()
	o.town.Reset() // nothing depends on what is kept
	o.ask()
	first := xocsp.Unknown
	if complete {
		first = xocsp.Good
	}
	want := []int{first, xocsp.Revoked, xocsp.Revoked, xocsp.Revoked, xocsp.Revoked}
	if o.spare {
		want = []int{first, first, first, xocsp.Revoked, xocsp.Revoked}
		if complete {
			want = []int{first, first, first, first, first} // it is durable, and may have been delivered
		}
	}
	if !slices.Equal(o.said, want) {
		t.Errorf("OCSP said %v, want %v", o.said, want)
	}
}

// reach is the point's fault: it asks, revokes, and asks again.
func (o *ordered) reach(p ca.Point) error {
	if !o.armed || p != o.point {
		return nil
	}
	page, err := o.cfg.Store.Certificates(o.t.Context(), storage.Query{Order: storage.ByIndex, Descending: true, Limit: 1})
	if err != nil {
		return err
	}
	o.row = page.Certificates[0]
	o.ask()
	if !o.spare {
		_, err = o.authority.Revoke(o.t.Context(), ca.Revocation{
			Issuer: o.row.Issuer, Serial: o.row.Serial, Reason: identity.Superseded, Actor: "local_socket:admin",
		})
	}
	o.ask()
	if o.dies {
		err = errors.Join(err, errDied)
	}
	return err
}

func (o *ordered) ask() {
	o.t.Helper()
	o.said = append(o.said, o.town.ask(o.t, o.row.Serial.Big()).Status)
}
