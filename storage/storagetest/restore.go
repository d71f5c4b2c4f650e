package storagetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// testRestore: entries of one store, restored into another one after the other,
// give the same tree, and certificates that are listed, revoked and completed.
func testRestore(t *testing.T, b Backend) {
	old, s := b.store(t), b.store(t)
	issuer := NewIssuer(t)
	issuances := make([]Issuance, 5)
	for i := range issuances {
		issuances[i] = issuer.Issue(t, Spec{RequestID: string(rune('a' + i)), Owner: "team-r", Incarnation: storage.Incarnation{1}})
	}
	issued, revoked, abandoned, open, later := issuances[0], issuances[1], issuances[2], issuances[3], issuances[4]
	do(t, old, issued.Reserve, revoked.Reserve, abandoned.Reserve, open.Reserve)
	do(t, old, issued.Complete, revoked.Complete)
	do(t, old, abandoned.Abandon(t, 2), revoked.Revoke(t, identity.KeyCompromise))
	do(t, old, issuer.PutCRL(t, "0", 7, []byte("crl")))
	restoreAll(t, old, s, 0)

	was, is := head(t, old), head(t, s)
	if was != is {
		t.Fatalf("head %+v, want %+v", is, was)
	}
	sound(t, s)
	for _, i := range []Issuance{issued, open} {
		c, err := s.BySerial(t.Context(), i.Reserve.Issuer, i.Reserve.Serial)
		if err != nil || c.State != storage.Reserved || c.Incarnation != (storage.Incarnation{}) || c.Revocation != nil {
			t.Errorf("restored: %+v, %v", c, err)
		}
	}
	page, err := s.Certificates(t.Context(), storage.Query{Order: storage.ByOwner, Value: "team-r", Limit: 10})
	if err != nil || len(page.Certificates) != 4 {
		t.Errorf("%d are listed, %v", len(page.Certificates), err)
	}
	if page, err := s.Certificates(t.Context(), storage.Query{Order: storage.ByUnresolved, Limit: 10}); err != nil || len(page.Certificates) != 0 {
		t.Errorf("%d are unresolved, %v", len(page.Certificates), err)
	}
	if _, err := s.ByRequest(t.Context(), issued.RequestKey); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("by request: %v", err)
	}
	crl, err := s.CRL(t.Context(), issuer.ID, "0")
	if err != nil || crl.Number != 7 || len(crl.DER) != 0 {
		t.Errorf("list: %+v, %v", crl, err)
	}
	refuse(t, s, storage.ErrConflict, issuer.PutCRL(t, "0", 7, []byte("again")))

	do(t, s, open.Revoke(t, identity.Superseded))
	do(t, s, issued.Complete)
	do(t, s, later.Reserve)
	do(t, s, later.Complete)
	do(t, s, issuer.PutCRL(t, "0", 8, []byte("next")))
	refuse(t, s, storage.ErrConflict, revoked.Revoke(t, identity.Superseded))
	sound(t, s)
	got, err := s.BySerial(t.Context(), issued.Reserve.Issuer, issued.Reserve.Serial)
	if err != nil || got.State != storage.Issued || !bytes.Equal(got.DER, issued.Complete.Certificate) {
		t.Errorf("completed: %+v, %v", got, err)
	}
}

// testRestoreRefusals: what is restored must follow on what is there.
func testRestoreRefusals(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	c := issuer.Issue(t, Spec{})
	action, err := entry.Action{Action: "token.created", Target: "x"}.Draft("local_socket:admin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(d entry.Draft, at time.Time) storage.RestoreEntry {
		raw, err := d.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		return storage.RestoreEntry{Raw: raw}
	}
	now := time.Now()
	intent := at(c.Reserve.Entry, now)
	do(t, s, intent)
	refuse(t, s, storage.ErrConflict, at(action, now.Add(-time.Second)))
	refuse(t, s, storage.ErrDuplicateSerial, intent)
	later := issuer.Issue(t, Spec{})
	for name, unit := range map[string]storage.Unit{
		"garbage": {storage.RestoreEntry{Raw: []byte("garbage")}}, "body": {at(entry.Draft{Kind: entry.Revocation, Actor: "a"}, now)},
		"mixed": {at(action, now), storage.AppendEntry{Entry: action}}, "mixed the other way": {storage.AppendEntry{Entry: action}, at(action, now)},
		"abandons nothing":    {at(later.Abandon(t, 9).Entry, now)},
		"revokes nothing":     {at(later.Revoke(t, identity.Superseded).Entry, now)},
		"abandons what is no": {at(action, now), at(later.Abandon(t, 1).Entry, now)},
	} {
		if _, err := s.Commit(t.Context(), unit); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if size(t, s) != 1 {
		t.Errorf("%d entries", size(t, s))
	}
	sound(t, s)
}

// restoreAll restores the entries of one store from an index on into another.
func restoreAll(t *testing.T, from storage.LedgerReader, to storage.Committer, start uint64) {
	t.Helper()
	raws, err := from.Entries(t.Context(), start, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var unit storage.Unit
	for _, raw := range raws {
		unit = append(unit, storage.RestoreEntry{Raw: raw})
	}
	do(t, to, unit...)
}

func head(t *testing.T, s storage.LedgerReader) storage.Head {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}
