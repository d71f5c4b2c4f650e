package acme

import (
	"testing"
	"time"
)

// TestPick has accounts take turns: who has fewer workers comes first, whoever came
// first; a task that is not due holds back nobody; nobody has more than the share.
func TestPick(t *testing.T) {
	now := time.Now()
	s := &Server{config: Config{Workers: 8}, now: func() time.Time { return now }}
	p := newPool(s)
	add := func(account, authz string) { p.add(account, authz, "") }
	for _, authz := range []string{"a1", "a2", "a3", "a4"} {
		add("a", authz)
	}
	add("b", "b1")
	add("b", "b2")
	add("c", "c1")
	p.known["c1"].due = now.Add(time.Minute)
	for _, want := range []string{"a1", "b1", "a2", "b2"} {
		got, _ := p.pick()
		if got == nil || got.authz != want {
			t.Fatalf("picked %+v, want %s", got, want)
		}
	}
	if got, wait := p.pick(); got != nil || wait > time.Minute {
		t.Errorf("picked %+v beyond the share, wait %s", got, wait)
	}
	now = now.Add(time.Minute)
	if got, _ := p.pick(); got == nil || got.authz != "c1" {
		t.Errorf("picked %+v, want c1", got)
	}
	p.done(p.known["a1"], nil)
	if got, _ := p.pick(); got == nil || got.authz != "a3" || p.counted["a"] != 3 {
		t.Errorf("picked %+v, want a3; %d of a", got, p.counted["a"])
	}
}

// TestPoolFull has one account fill the pool: another has still room.
func TestPoolFull(t *testing.T) {
	p := newPool(&Server{config: Config{Workers: 8}, now: time.Now})
	for range 2 * maxWaiting {
		p.add("a", newID(time.Now()), "")
	}
	if len(p.known) != maxWaiting {
		t.Errorf("%d are known", len(p.known))
	}
	p.add("b", "b1", "")
	p.add("b", "b2", "")
	if p.counted["b"] != 1 {
		t.Errorf("another account has %d", p.counted["b"])
	}
}
