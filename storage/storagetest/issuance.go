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

func testRefusals(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	first := issuer.Issue(t, Spec{RequestID: "r"})
	never := issuer.Issue(t, Spec{})
	refuse(t, s, storage.ErrNotFound, first.Complete)
	refuse(t, s, storage.ErrNotFound, first.Abandon(t, 0))
	refuse(t, s, storage.ErrNotFound, first.Revoke(t, identity.Unspecified))
	do(t, s, first.Reserve)
	refuse(t, s, storage.ErrDuplicateSerial, first.Reserve)
	refuse(t, s, storage.ErrDuplicateRequest, issuer.Issue(t, Spec{RequestID: "r"}).Reserve)
	other := issuer.Issue(t, Spec{Serial: first.Reserve.Serial}) // another TBS for the same serial
	refuse(t, s, storage.ErrConflict, other.Complete)
	do(t, s, issuer.Issue(t, Spec{Requester: "token:other", RequestID: "r"}).Reserve)
	do(t, s, first.Complete)
	refuse(t, s, storage.ErrConflict, first.Complete)
	refuse(t, s, storage.ErrConflict, first.Abandon(t, 0))
	if _, err := s.BySerial(t.Context(), issuer.ID, never.Reserve.Serial); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a serial that is not there: %v", err)
	}
	if got := size(t, s); got != 2 {
		t.Errorf("%d entries: a refused command has left one", got)
	}
	lies := []func(*storage.ReserveIssuance){
		func(r *storage.ReserveIssuance) { r.Issuer[0]++ },
		func(r *storage.ReserveIssuance) { r.Serial[15]++ },
		func(r *storage.ReserveIssuance) { r.SPKI[0]++ },
		func(r *storage.ReserveIssuance) { r.Names = DNS("other.internal") },
		func(r *storage.ReserveIssuance) { r.NotAfter = r.NotAfter.AddDate(1, 0, 0) },
	}
	for i, lie := range lies {
		r := never.Reserve
		lie(&r)
		if _, err := s.Commit(t.Context(), storage.Unit{r}); err == nil {
			t.Errorf("lie %d: a command that is not what its TBS says is taken", i)
		}
	}
	sound(t, s)
}

func testAbandon(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	i := issuer.Issue(t, Spec{RequestID: "r"})
	do(t, s, i.Reserve)
	// One unit: abandon and revoke, as a start after a crash does it.
	r := do(t, s, i.Abandon(t, 0), i.Revoke(t, identity.Unspecified))
	if len(r.Indexes) != 2 || r.Indexes[0] != 1 || r.Indexes[1] != 2 {
		t.Errorf("receipt %+v", r)
	}
	if c := read(t, s, i); c.State != storage.Abandoned || c.Revocation == nil || c.Incarnation != (storage.Incarnation{}) {
		t.Errorf("abandoned: %+v", c)
	}
	if _, err := s.ByRequest(t.Context(), i.RequestKey); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("by request after it was abandoned: %v", err)
	}
	again := issuer.Issue(t, Spec{RequestID: "r"})
	do(t, s, again.Reserve)
	if c, err := s.ByRequest(t.Context(), i.RequestKey); err != nil || c.Serial != again.Reserve.Serial {
		t.Errorf("by request after it was asked again: %v, %v", c.Serial, err)
	}
	// A reserved certificate can be revoked: then it is never issued.
	do(t, s, again.Revoke(t, identity.KeyCompromise))
	refuse(t, s, storage.ErrConflict, again.Complete)
	do(t, s, again.Abandon(t, 3))
	sound(t, s)
}

// testUnitInItself: the commands of one unit see each other.
func testUnitInItself(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	i := issuer.Issue(t, Spec{RequestID: "a"})
	do(t, s, i.Reserve, i.Complete)
	if c := read(t, s, i); c.State != storage.Issued {
		t.Errorf("reserved and issued in one unit: %s", c.State)
	}
	j := issuer.Issue(t, Spec{RequestID: "b"})
	refuse(t, s, storage.ErrDuplicateSerial, j.Reserve, j.Reserve)
	refuse(t, s, storage.ErrDuplicateRequest, j.Reserve, issuer.Issue(t, Spec{RequestID: "b"}).Reserve)
	refuse(t, s, storage.ErrTokenSpent,
		storage.UseToken{ID: "x", For: [32]byte{1}, Max: 1}, storage.UseToken{ID: "x", For: [32]byte{2}, Max: 1})
	refuse(t, s, storage.ErrConflict,
		storage.PutRecord{Collection: "c", ID: "1"}, storage.PutRecord{Collection: "c", ID: "1"})
	sound(t, s)
}

const rivals = 32

func testDoubleComplete(t *testing.T, b Backend) {
	s := b.store(t)
	i := NewIssuer(t).Issue(t, Spec{})
	do(t, s, i.Reserve)
	won := together(t, rivals, func(int) error {
		_, err := s.Commit(t.Context(), storage.Unit{i.Complete, storage.PutRecord{Collection: "won", ID: "x"}})
		return err
	}, storage.ErrConflict)
	if won != 1 {
		t.Errorf("%d of %d have completed it", won, rivals)
	}
	sound(t, s)
}

func testDoubleRevoke(t *testing.T, b Backend) {
	s := b.store(t)
	i := NewIssuer(t).Issue(t, Spec{})
	do(t, s, i.Reserve, i.Complete)
	revoke := i.Revoke(t, identity.KeyCompromise)
	won := together(t, rivals, func(int) error {
		_, err := s.Commit(t.Context(), storage.Unit{revoke})
		return err
	}, storage.ErrConflict)
	if won != 1 || size(t, s) != 2 {
		t.Errorf("%d of %d have revoked it, the ledger has %d entries", won, rivals, size(t, s))
	}
	sound(t, s)
}

func testCompleteOrAbandon(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	for round := range uint64(20) {
		i := issuer.Issue(t, Spec{})
		index := do(t, s, i.Reserve).Indexes[0]
		abandon := i.Abandon(t, index)
		won := together(t, 2, func(n int) error {
			unit := storage.Unit{i.Complete}
			if n == 1 {
				unit = storage.Unit{abandon}
			}
			_, err := s.Commit(t.Context(), unit)
			return err
		}, storage.ErrConflict)
		if won != 1 {
			t.Errorf("round %d: %d have won", round, won)
		}
	}
	page, err := s.Certificates(t.Context(), storage.Query{Order: storage.ByUnresolved, Limit: 100})
	if err != nil || len(page.Certificates) != 0 {
		t.Errorf("unresolved: %d, %v", len(page.Certificates), err)
	}
	sound(t, s)
}
