package bulk

import (
	"crypto/ecdsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// TestChangingFields: a filter over what may change after it was shown is refused,
// wherever in it the field stands, and nothing is revoked.
func TestChangingFields(t *testing.T) {
	w := newWorld(t)
	w.issue("team", "a.internal")
	w.issue("team", "a.internal")
	for filter, field := range map[string]string{
		`superseded`:                             "superseded",
		`NOT superseded AND name = "a.internal"`: "superseded",
		`superseded = true`:                      "superseded",
		`id = "` + strings.Repeat("0", 64) + `"`: "id",
		`owner = "team" AND NOT id:"ab"`:         "id",
		`state = ISSUED`:                         "state",
		`owner = "team" AND (name = "z.internal" OR state != "REVOKED")`: "state",
		`labels.env = "test"`:                   "labels.env",
		`owner = "team" AND NOT labels.env:"*"`: "labels.env",
	} {
		ask := order(filter)
		_, err := w.Start(t.Context(), ask)
		if problem.KindOf(err) != problem.Malformed || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", filter, err)
		}
		if _, _, _, err := w.Preview(t.Context(), ask); problem.KindOf(err) != problem.Malformed {
			t.Errorf("preview of %s: %v", filter, err)
		}
	}
	w.must(w.workOff(t.Context()))
	if n := len(w.revocations()); n != 0 {
		t.Errorf("%d revoked", n)
	}
}

// TestShownStays: what happens to the certificates between preview and start adds
// nothing to what is revoked.
func TestShownStays(t *testing.T) {
	w := newWorld(t)
	a, b := w.issue("team", "a.internal"), w.issue("team", "a.internal")
	ask := order(fmt.Sprintf(`serial = "%s"`, b.Serial))
	radius, _, before, err := w.Preview(t.Context(), ask)
	w.must(err)
	if radius.Certificates != 1 {
		t.Fatalf("%+v", radius)
	}
	w.revoke(b, identity.Superseded) // a is its line's newest again
	ask.Before = before
	op, err := w.Start(t.Context(), ask)
	w.must(err)
	w.must(w.workOff(t.Context()))
	done, err := w.Get(t.Context(), op.ID)
	w.must(err)
	if counts := w.revocations(); !done.Done() || done.Revoked != 0 || counts[a.Serial] != 0 || counts[b.Serial] != 1 {
		t.Errorf("%+v, %v", done, counts)
	}
}

// TestKeysOfAll: keyCompromise blocks the keys of what is revoked or expired
// already; another reason, and what is after the bound, does not.
func TestKeysOfAll(t *testing.T) {
	for _, reason := range []identity.RevocationReason{identity.KeyCompromise, identity.CessationOfOperation} {
		t.Run(reason.String(), func(t *testing.T) {
			w := newWorld(t)
			var keys []*ecdsa.PrivateKey
			for range 5 { // two steps
				key := w.key()
				keys = append(keys, key)
				w.revoke(w.issueFor(key, "team", "a.internal"), identity.Superseded)
			}
			twice := keys[0]
			live := w.issueFor(twice, "team", "a.internal")
			ask := order(`owner = "team"`)
			ask.Reason = reason
			_, _, before, err := w.Preview(t.Context(), ask)
			w.must(err)
			ask.Before = before
			later := w.key()
			w.revoke(w.issueFor(later, "team", "a.internal"), identity.Superseded)
			_, err = w.Start(t.Context(), ask)
			w.must(err)
			w.must(w.workOff(t.Context()))
			if w.revocations()[live.Serial] != 1 {
				t.Error("the live one is not revoked")
			}
			for i, key := range append(keys, later) {
				want := reason == identity.KeyCompromise && i < len(keys)
				if got := w.blocked(key); got != want {
					t.Errorf("key %d: blocked %v", i, got)
				}
			}
		})
	}
}

// TestKeysOfExpired: the same if there is nothing to revoke.
func TestKeysOfExpired(t *testing.T) {
	w := newWorld(t)
	key := w.key()
	w.issueFor(key, "team", "a.internal")
	w.cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, 10) }
	ask := order(`owner = "team"`)
	ask.Reason = identity.KeyCompromise
	op, err := w.Start(t.Context(), ask)
	w.must(err)
	w.must(w.workOff(t.Context()))
	done, err := w.Get(t.Context(), op.ID)
	w.must(err)
	if !done.Done() || done.Revoked != 0 || !w.blocked(key) {
		t.Errorf("%+v, blocked %v", done, w.blocked(key))
	}
}

func (w *world) revoke(c storage.Certificate, reason identity.RevocationReason) {
	w.t.Helper()
	_, err := w.authority.Revoke(w.t.Context(), ca.Revocation{Issuer: c.Issuer, Serial: c.Serial, Reason: reason, Actor: "x:y"})
	w.must(err)
}

// blocked tells whether nothing is issued for the key.
func (w *world) blocked(key *ecdsa.PrivateKey) bool {
	w.t.Helper()
	id, err := identity.KeyIDOf(key.Public())
	w.must(err)
	_, err = w.store.Record(w.t.Context(), "blocked-key", id.String())
	return err == nil
}
