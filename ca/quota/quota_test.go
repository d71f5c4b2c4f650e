package quota

import (
	"fmt"
	"testing"
	"time"
)

func TestQuotas(t *testing.T) {
	q := New(Config{PerMinute: 60})
	now := time.Unix(1e9, 0)
	if q.Spent("a", now) || q.Len() != 0 {
		t.Error("a bucket that nobody has used")
	}
	for range 60 {
		if !q.Take("a", now) {
			t.Fatal("empty too early")
		}
	}
	if q.Take("a", now) || !q.Spent("a", now) {
		t.Error("not empty")
	}
	if !q.Take("b", now) || q.Spent("b", now) {
		t.Error("another key's bucket is empty")
	}
	if now = now.Add(time.Second); q.Spent("a", now) || !q.Take("a", now) || q.Take("a", now) {
		t.Error("not one token more after a second")
	}
	if !q.Spent("a", now.Add(-time.Hour)) {
		t.Error("the clock went back, and the bucket is full")
	}
}

// TestBounded: however many keys come, memory is bounded, and full buckets are
// forgotten first.
func TestBounded(t *testing.T) {
	q := New(Config{PerMinute: 60, Keys: 100})
	now := time.Unix(1e9, 0)
	for n := range 1000 {
		q.Take(fmt.Sprint(n), now)
	}
	if q.Len() != 100 {
		t.Errorf("%d buckets", q.Len())
	}
	now = now.Add(time.Hour)
	for range 60 {
		q.Take("busy", now)
	}
	for n := range 50 {
		q.Take(fmt.Sprint("other", n), now)
	}
	if !q.Spent("busy", now) {
		t.Error("forgotten in place of a full one")
	}
}
