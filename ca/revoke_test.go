package ca

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// changes gathers what Config.Revoked is told.
type changes struct {
	mu  sync.Mutex
	all []Change
}

func (c *changes) note(change Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, change)
}

func (c *changes) count(serial identity.Serial) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, each := range c.all {
		if each.Serial == serial {
			n++
		}
	}
	return n
}

func revocation(c storage.Certificate, reason identity.RevocationReason) Revocation {
	return Revocation{Issuer: c.Issuer, Serial: c.Serial, Fingerprint: c.Fingerprint, Reason: reason, Actor: "local_socket:admin"}
}

func TestRevoke(t *testing.T) {
	var told changes
	w := newWorld(t, func(c *Config) { c.Revoked = told.note })
	got, err := w.Issue(t.Context(), request(t, ""), Attach{})
	if err != nil {
		t.Fatal(err)
	}
	r := revocation(got.Certificate, identity.Superseded)
	first, err := w.Revoke(t.Context(), r)
	if err != nil || first.Repeated || first.Certificate.Revocation.Reason != identity.Superseded {
		t.Fatalf("%+v %v", first, err)
	}
	size := w.size(t)
	again, err := w.Revoke(t.Context(), r)
	if err != nil || !again.Repeated || *again.Certificate.Revocation != *first.Certificate.Revocation {
		t.Errorf("%+v %v", again, err)
	}
	if w.size(t) != size || told.count(r.Serial) != 1 {
		t.Errorf("the repetition left an entry, or was told: %+v", told.all)
	}
	other := r
	other.Reason = identity.CessationOfOperation
	_, err = w.Revoke(t.Context(), other)
	wantProblem(t, err, problem.Conflict, "ALREADY_REVOKED")
	bad := r
	bad.Reason = 7
	_, err = w.Revoke(t.Context(), bad)
	wantProblem(t, err, problem.Malformed, "REVOCATION_REASON")
	foreign := r
	foreign.Fingerprint[0]++
	_, err = w.Revoke(t.Context(), foreign)
	wantProblem(t, err, problem.NotFound, "")
	r.Serial[15]++
	_, err = w.Revoke(t.Context(), r)
	wantProblem(t, err, problem.NotFound, "")
}

// TestKeyCompromise: from the revocation on, nothing is issued for the key.
func TestKeyCompromise(t *testing.T) {
	w := newWorld(t, nil)
	req := request(t, "")
	got, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Revoke(t.Context(), revocation(got.Certificate, identity.KeyCompromise)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = w.Issue(t.Context(), req, Attach{})
		wantProblem(t, err, problem.BadCSR, "BLOCKED_KEY")
		_, err = w.Preview(t.Context(), req)
		wantProblem(t, err, problem.BadCSR, "BLOCKED_KEY")
		denied := req
		denied.Identifiers = []identity.Identifier{{Type: identity.DNS, Value: "evil.example.com"}}
		_, err = w.Issue(t.Context(), denied, Attach{})
		p := problemOf(t, err, problem.Denied, "")
		if !slices.ContainsFunc(p.Violations, func(v problem.Violation) bool { return v.Reason == "BLOCKED_KEY" }) || len(p.Violations) < 2 {
			t.Errorf("violations %v", p.Violations)
		}
		w.reopen(t) // and after a restart
	}
}

// TestKeyCompromiseLater blocks the key of what was revoked for another reason.
func TestKeyCompromiseLater(t *testing.T) {
	w := newWorld(t, nil)
	req := request(t, "")
	got, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Revoke(t.Context(), revocation(got.Certificate, identity.Superseded)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = w.Revoke(t.Context(), revocation(got.Certificate, identity.KeyCompromise))
		wantProblem(t, err, problem.Conflict, "ALREADY_REVOKED")
	}
	_, err = w.Issue(t.Context(), req, Attach{})
	wantProblem(t, err, problem.BadCSR, "BLOCKED_KEY")
	raw, err := w.store.Entries(t.Context(), w.size(t)-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(raw[0])
	if err != nil || e.Kind != entry.AdminAction {
		t.Errorf("last entry %v %v", e.Kind, err)
	}
}

// TestKeyBlockedMeanwhile blocks the key between decision and reservation: the
// reservation finds it.
func TestKeyBlockedMeanwhile(t *testing.T) {
	var w *world
	var victim storage.Certificate
	armed := false
	w = newWorld(t, func(c *Config) {
		c.Fault = func(p Point) error {
			if p != PointChecked || !armed {
				return nil
			}
			armed = false
			_, err := w.Revoke(t.Context(), revocation(victim, identity.KeyCompromise))
			return err
		}
	})
	req := request(t, "")
	got, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	victim, armed = got.Certificate, true
	_, err = w.Issue(t.Context(), req, Attach{})
	wantProblem(t, err, problem.BadCSR, "BLOCKED_KEY")
	if len(w.unresolved(t)) != 0 {
		t.Error("something was reserved")
	}
}

// TestRevokedAtEachPoint revokes the intent at every point after its
// reservation: the caller gets the certificate only if it was complete, and the
// ledger says revoked whatever the order.
func TestRevokedAtEachPoint(t *testing.T) {
	for _, point := range []Point{PointReserved, PointSigned, PointCompleted} {
		t.Run(string(point), func(t *testing.T) {
			var w *world
			var told changes
			var serial identity.Serial
			w = newWorld(t, func(c *Config) {
				c.Revoked = told.note
				c.Fault = func(p Point) error {
					if p != point {
						return nil
					}
					page, err := w.store.Certificates(t.Context(), storage.Query{Order: storage.ByIndex, Limit: 1})
					if err != nil || len(page.Certificates) != 1 {
						return errors.Join(err, errors.New("no intent"))
					}
					serial = page.Certificates[0].Serial
					_, err = w.Revoke(t.Context(), Revocation{
						Issuer: page.Certificates[0].Issuer, Serial: serial, Reason: identity.KeyCompromise, Actor: "local_socket:admin",
					})
					return err
				}
			})
			_, err := w.Issue(t.Context(), request(t, "r"), Attach{})
			if point == PointCompleted {
				if err != nil {
					t.Error(err) // it was issued, and then revoked
				}
			} else {
				wantProblem(t, err, problem.Conflict, "")
			}
			row, err := w.store.BySerial(t.Context(), w.Issuers()[0].KeyID, serial)
			if err != nil || row.Revocation == nil || row.Revocation.Reason != identity.KeyCompromise {
				t.Errorf("%+v %v", row.Revocation, err)
			}
			if (row.State == storage.Issued) != (point == PointCompleted) || told.count(serial) != 1 {
				t.Errorf("state %s, told %d times", row.State, told.count(serial))
			}
		})
	}
}

// TestSweepTells: what a start abandons and revokes is told too.
func TestSweepTells(t *testing.T) {
	died := errors.New("died")
	w := newWorld(t, func(c *Config) { c.Fault = func(p Point) error { return map[Point]error{PointSigned: died}[p] } })
	if _, err := w.Issue(t.Context(), request(t, ""), Attach{}); err == nil {
		t.Fatal("no error")
	}
	var told changes
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, func(c *Config) { c.Revoked = told.note })
	if n, err := w.Settle(t.Context()); n != 1 || err != nil || len(told.all) != 1 {
		t.Errorf("%d %v, told %+v", n, err, told.all)
	}
}

func TestRevokeAll(t *testing.T) {
	var told changes
	w := newWorld(t, func(c *Config) { c.Revoked = told.note })
	var rows []storage.Certificate
	for range 3 {
		got, err := w.Issue(t.Context(), request(t, ""), Attach{})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, got.Certificate)
	}
	if _, err := w.Revoke(t.Context(), revocation(rows[1], identity.Superseded)); err != nil {
		t.Fatal(err)
	}
	size := w.size(t)
	if err := w.RevokeAll(t.Context(), rows, identity.KeyCompromise, "x:y", nil); !errors.Is(err, storage.ErrConflict) || w.size(t) != size {
		t.Errorf("one is revoked: %v, %d entries", err, w.size(t)-size)
	}
	if err := w.RevokeAll(t.Context(), []storage.Certificate{rows[0], rows[2]}, identity.KeyCompromise, "x:y", nil); err != nil {
		t.Fatal(err)
	}
	if w.size(t) != size+2 || len(told.all) != 3 {
		t.Errorf("%d entries, told %d", w.size(t)-size, len(told.all))
	}
}

func TestCRLSigner(t *testing.T) {
	w := newWorld(t, nil)
	signers := w.CRLSigners()
	if len(signers) != 1 || signers[0].Base()+signers[0].Path(3) != "http://ca.test:8080/crl/issuing/3.crl" || signers[0].Name() != "issuing" {
		t.Fatalf("%+v", signers)
	}
	now := time.Now()
	der, err := signers[0].Sign(x509cert.CRL{Number: 7, ThisUpdate: now, NextUpdate: now.Add(time.Hour), URLs: []string{signers[0].Base() + signers[0].Path(3)}})
	if err != nil || len(der) == 0 {
		t.Fatal(err)
	}
	if n := w.Stats().CRLSignatures["issuing"]; n != 1 {
		t.Errorf("counted %d", n)
	}
	signer, err := w.OCSPSigner("issuing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(nil, make([]byte, 32), nil); err == nil && w.Stats().OCSPSignatures["issuing"] != 1 {
		t.Error("the use is not counted")
	}
	if _, err := w.OCSPSigner("nobody"); err == nil {
		t.Error("a signer of nobody")
	}
}
