package ca

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/storage"
)

// blockedFindings are those of a verification that concern blocked keys.
func blockedFindings(t *testing.T, w *world) []storage.Finding {
	t.Helper()
	var out []storage.Finding
	config := ledger.VerifyConfig{Store: w.store, Records: []ledger.RecordCheck{CheckBlockedKeys(t.Context(), w.store)}}
	if _, err := ledger.Verify(t.Context(), config, func(f storage.Finding) {
		if f.Kind == "blocked-key" {
			out = append(out, f)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// blockedWorld has keys that are blocked in each of the ways: with a revocation, later
// than it, in a unit of several with one key, and beside a bulk revocation.
func blockedWorld(t *testing.T) (w *world, with, later storage.Certificate) {
	t.Helper()
	w = newWorld(t, nil)
	issue := func(req identity.Request) storage.Certificate {
		got, err := w.Issue(t.Context(), req, Attach{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Certificate
	}
	with, later = issue(request(t, "")), issue(request(t, ""))
	same := request(t, "")
	rows := []storage.Certificate{issue(same), issue(request(t, "")), issue(same)}
	beside := issue(request(t, ""))
	for _, r := range []Revocation{
		revocation(with, identity.KeyCompromise), revocation(later, identity.Superseded), revocation(beside, identity.Superseded),
	} {
		if _, err := w.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Revoke(t.Context(), revocation(later, identity.KeyCompromise)); err == nil {
		t.Fatal("the reason has changed")
	}
	blocks, err := w.BlockKeys(t.Context(), []storage.Certificate{beside, beside}, "x:y")
	if err != nil || len(blocks) != 2 {
		t.Fatal(len(blocks), err)
	}
	if err := w.RevokeAll(t.Context(), rows, identity.KeyCompromise, "x:y", blocks); err != nil {
		t.Fatal(err)
	}
	return w, with, later
}

// TestForgedBlocks: a verification finds blocks that were taken away, changed or
// put in beside the ledger.
func TestForgedBlocks(t *testing.T) {
	replace := func(old, with string) func([]byte) []byte {
		return func(body []byte) []byte { return bytes.ReplaceAll(body, []byte(old), []byte(with)) }
	}
	for name, test := range map[string]struct {
		forge func(w *world, with, later storage.Certificate)
		says  string
	}{
		"nothing": {func(*world, storage.Certificate, storage.Certificate) {}, ""},
		"unblocked": {func(w *world, with, _ storage.Certificate) {
			w.forge(t, blockedCollection, with.SPKI.String(), func([]byte) []byte { return nil })
		}, "its record is missing"},
		"unblocked, of an action": {func(w *world, _, later storage.Certificate) {
			w.forge(t, blockedCollection, later.SPKI.String(), func([]byte) []byte { return nil })
		}, "its record is missing"},
		"another certificate": {func(w *world, with, later storage.Certificate) {
			w.forge(t, blockedCollection, with.SPKI.String(), replace(with.Serial.String(), later.Serial.String()))
		}, "says another"},
		"another certificate, of an action": {func(w *world, with, later storage.Certificate) {
			w.forge(t, blockedCollection, later.SPKI.String(), replace(later.Serial.String(), with.Serial.String()))
		}, "says another"},
		"a field more": {func(w *world, with, _ storage.Certificate) {
			w.forge(t, blockedCollection, with.SPKI.String(), replace(`{"issuer"`, `{"x":1,"issuer"`))
		}, "not written as a server writes it"},
		"planted": {func(w *world, with, _ storage.Certificate) {
			stored, err := w.store.Record(t.Context(), blockedCollection, with.SPKI.String())
			if err != nil {
				t.Fatal(err)
			}
			put := storage.PutRecord{Collection: blockedCollection, ID: identity.KeyID{1}.String(), Body: stored.Body}
			if _, err := w.store.Commit(t.Context(), storage.Unit{put}); err != nil {
				t.Fatal(err)
			}
		}, "which does not block it"},
	} {
		t.Run(name, func(t *testing.T) {
			w, with, later := blockedWorld(t)
			test.forge(w, with, later)
			_ = w.store.Close() // a change has closed it
			w.openStore(t)
			found := blockedFindings(t, w)
			if (test.says == "") != (len(found) == 0) || !strings.Contains(fmt.Sprint(found), test.says) {
				t.Errorf("%+v, want %q", found, test.says)
			}
			for _, f := range found {
				if f.Subject == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}
