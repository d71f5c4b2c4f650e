package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/certwright/certwright/auth/session"
)

// TestStats counts what is done, and how many can be used.
func TestStats(t *testing.T) {
	f := newFixture(t)
	active := func(want int) {
		t.Helper()
		if got, err := f.Active(t.Context(), 1000); err != nil || got != want {
			t.Errorf("%d active, want %d: %v", got, want, err)
		}
	}
	active(0)
	first, text := f.open(session.Wish{Principal: jane()})
	f.open(session.Wish{Principal: jane(), Lifetime: 2 * time.Minute})
	active(2)
	if _, err := f.Revoke(t.Context(), first.ID, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Revoke(t.Context(), first.ID, "root"); err != nil { // again: nothing is done
		t.Fatal(err)
	}
	f.refused("revoked", text, "SESSION_REVOKED")
	f.refused("nonsense", session.Prefix+"x", "SESSION_INVALID")
	f.refused("nonsense again", session.Prefix+"y", "SESSION_INVALID")
	if _, _, err := f.Open(t.Context(), session.Wish{Principal: jane(), Lifetime: -1}); err == nil {
		t.Error("a session of no time")
	}
	f.still = errors.New("the store cannot be read") // no refusal
	_, broken := f.open(session.Wish{Principal: jane()})
	if _, err := f.ask(broken); err == nil {
		t.Error("nobody knows who that is")
	}
	active(2)
	f.pass(3 * time.Minute)
	active(1)
	got := f.Stats()
	if got.Opened != 3 || got.Revoked != 1 || fmt.Sprint(got.Refused) != "map[SESSION_INVALID:2 SESSION_REVOKED:1]" {
		t.Errorf("%+v", got)
	}
}
