package acme

import (
	"strconv"
	"testing"
	"time"
)

// TestLimitIsBounded floods a limit with keys: what it remembers stays bounded, and a
// caller that goes on is remembered.
func TestLimitIsBounded(t *testing.T) {
	now := time.Now()
	l := newLimits(Limits{Orders: 1}, func() time.Time { return now }).orders
	if l.take("one") != 0 {
		t.Fatal("the first is refused")
	}
	for i := range 3 * maxTracked {
		l.take(strconv.Itoa(i))
		if i == maxTracked/2 && l.take("one") < 59*time.Minute {
			t.Error("it was forgotten at once")
		}
	}
	if n := len(l.young) + len(l.old); n > 2*maxTracked {
		t.Errorf("%d keys are remembered", n)
	}
	if l.take(strconv.Itoa(3*maxTracked-1)) == 0 {
		t.Error("the newest is forgotten")
	}
}

// TestAddressKey: one caller of IPv6 is a /64, and an IPv4 address is one in whatever
// form it comes.
func TestAddressKey(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:1234": "10.0.0.1", "[::ffff:10.0.0.1]:1": "10.0.0.1", "[2001:db8::1]:1": "2001:db8::/64",
		"[2001:db8::ffff:1]:2": "2001:db8::/64", "[fe80::1%eth0]:1": "fe80::/64", "x": "x",
	} {
		if got := addressKey(remote); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}
