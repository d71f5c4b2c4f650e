package flock_test

import (
	"errors"
	"os"
	"testing"

	"github.com/certwright/certwright/flock"
)

// TestTry locks a folder through one handle, and meets that lock through another.
func TestTry(t *testing.T) {
	dir := t.TempDir()
	open := func() *os.File {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	if err := flock.Wait(first); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); !errors.Is(err, flock.ErrHeld) {
		t.Fatalf("a second lock: %v, want ErrHeld", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); err == nil || errors.Is(err, flock.ErrHeld) {
		t.Fatalf("of a closed file: %v", err)
	}
}
