package storagetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// testIssuance walks one certificate through every state and reads it by every
// key.
func testIssuance(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	names := append(DNS("a.internal", "b.internal"),
		identity.Identifier{Type: identity.IP, Value: "10.0.0.1"}, identity.Identifier{Type: identity.IP, Value: "fd00::1"},
		identity.Identifier{Type: identity.URI, Value: "spiffe://internal/a"}, identity.Identifier{Type: identity.Email, Value: "a@internal"})
	i := issuer.Issue(t, Spec{
		Names: names, RequestID: "r1", CRLShard: 7, Incarnation: storage.Incarnation{1, 2, 3},
	})
	do(t, s, Action("first"))
	r := do(t, s, i.Reserve)
	if len(r.Indexes) != 1 || r.Indexes[0] != 1 || r.Time.IsZero() {
		t.Fatalf("receipt %+v", r)
	}
	c := read(t, s, i)
	if c.State != storage.Reserved || c.DER != nil || c.Incarnation != i.Reserve.Incarnation || c.CRLShard != 7 ||
		c.Index != 1 || !c.Time.Equal(r.Time) || c.Deadline.UnixMilli() != i.Reserve.Deadline.UnixMilli() {
		t.Errorf("reserved: %+v", c)
	}
	if diff := cmp.Diff(i.Intent, c.Intent); diff != "" {
		t.Errorf("intent: %s", diff)
	}
	if _, err := s.ByFingerprint(t.Context(), sha256.Sum256(i.Complete.Certificate)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("by fingerprint before it is issued: %v", err)
	}
	do(t, s, i.Complete)
	c = read(t, s, i)
	if c.State != storage.Issued || !bytes.Equal(c.DER, i.Complete.Certificate) || c.Fingerprint != sha256.Sum256(c.DER) ||
		c.Requester != "token:test" || !c.NotAfter.Equal(i.Reserve.NotAfter) || !c.NotBefore.Equal(i.Reserve.NotBefore) ||
		c.SPKI != i.Reserve.SPKI || c.Revocation != nil {
		t.Errorf("issued: %+v", c)
	}
	if len(c.Names) != len(names) {
		t.Errorf("names %v", c.Names)
	}
	for _, read := range []func() (storage.Certificate, error){
		func() (storage.Certificate, error) { return s.ByRequest(t.Context(), i.RequestKey) },
		func() (storage.Certificate, error) { return s.ByFingerprint(t.Context(), c.Fingerprint) },
	} {
		if got, err := read(); err != nil || got.Serial != c.Serial {
			t.Errorf("by another key: %v, %v", got.Serial, err)
		}
	}
	do(t, s, i.Revoke(t, identity.Superseded))
	c = read(t, s, i)
	if c.Revocation == nil || c.Revocation.Reason != identity.Superseded || c.Revocation.Index != 2 || c.State != storage.Issued {
		t.Errorf("revoked: %+v", c.Revocation)
	}
	sound(t, s)
}

func read(t testing.TB, s storage.CertificateReader, i Issuance) storage.Certificate {
	t.Helper()
	c, err := s.BySerial(t.Context(), i.Reserve.Issuer, i.Reserve.Serial)
	if err != nil {
		t.Fatalf("by serial: %v", err)
	}
	return c
}
