package acme

import (
	"strconv"
	"testing"
	"time"
)

// TestLimitForgets: keys that have paid off are not kept, those that have not are.
func TestLimitForgets(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := &limit{most: 3600, now: func() time.Time { return now }, young: map[string]time.Time{}}
	for range 3600 {
		l.take("busy")
	}
	for i := range 20_000 {
		now = now.Add(10 * time.Millisecond) // each is paid off after a second
		l.take(strconv.Itoa(i))
	}
	if n := len(l.young) + len(l.old); n > 2*tidyFrom {
		t.Errorf("%d keys are kept", n)
	}
	for range 200 { // what 200 s have paid off
		l.take("busy")
	}
	if l.take("busy") == 0 {
		t.Error("the busy one was forgotten")
	}
}
