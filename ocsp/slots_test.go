package ocsp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func (s *slots) inLine() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// call is one caller of take and what became of it.
type call struct{ err error }

// wait makes n callers of a source wait, one after the other.
func wait(ctx context.Context, s *slots, source string, n int, served func(string)) []*call {
	calls := make([]*call, n)
	for i := range calls {
		c := &call{err: errors.New("waits")}
		calls[i] = c
		go func() {
			if c.err = s.take(ctx, source); c.err == nil {
				served(source)
			}
		}()
		synctest.Wait()
	}
	return calls
}

func count(calls []*call, want error) (n int) {
	for _, c := range calls {
		if errors.Is(c.err, want) {
			n++
		}
	}
	return n
}

// TestShares: one source fills the queue while it is alone; each further one gets
// an equal share of it, and its turns.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 12)
		s.patience = time.Hour
		if err := s.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		order := ""
		served := func(source string) { order += source }
		a := wait(t.Context(), s, "a", 20, served)
		if n := count(a, errBusy); n != 8 || s.inLine() != 12 {
			t.Errorf("alone: %d sent away, %d wait", n, s.inLine())
		}
		b := wait(t.Context(), s, "b", 20, served)
		if n := count(b, errBusy); n != 14 || count(a, errBusy) != 14 {
			t.Errorf("two: %d of b, %d of a sent away", n, count(a, errBusy))
		}
		c := wait(t.Context(), s, "c", 1, served)
		if count(c, errBusy) != 0 || s.inLine() != 12 {
			t.Errorf("a third is sent away: %v, %d wait", c[0].err, s.inLine())
		}
		for range 13 {
			s.give()
			synctest.Wait()
		}
		if order != "abcababababb" {
			t.Errorf("the order %q", order)
		}
		if s.busy != 0 || s.inLine() != 0 || len(s.lines) != 0 || len(s.turns) != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

// TestLeaving: who waits too long, or goes away, leaves no gap.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2, 4)
		for _, source := range []string{"a", "b"} {
			if err := s.take(t.Context(), source); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := wait(ctx, s, "a", 2, func(string) {})
		cancel()
		synctest.Wait()
		if n := count(gone, context.Canceled); n != 2 || s.inLine() != 0 {
			t.Errorf("%d gone, %d wait", n, s.inLine())
		}
		late := wait(t.Context(), s, "a", 3, func(string) {})
		<-time.After(s.patience)
		synctest.Wait()
		if n := count(late, errBusy); n != 3 || s.inLine() != 0 {
			t.Errorf("%d are late, %d wait", n, s.inLine())
		}
		next := wait(t.Context(), s, "c", 1, func(string) {})
		s.give()
		synctest.Wait()
		if next[0].err != nil || s.busy != 2 {
			t.Errorf("%v, %d at work", next[0].err, s.busy)
		}
		s.give()
		s.give()
		if s.busy != 0 {
			t.Errorf("%d at work", s.busy)
		}
	})
}

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234":              "192.0.2.7",
		"[::ffff:192.0.2.7]:1234":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":            "fe80::/64",
		"@":                           "@",
		"":                            "",
	} {
		if got := sourceOf(remote); got != want {
			t.Errorf("%q: %q", remote, got)
		}
	}
}
