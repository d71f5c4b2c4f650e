package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestConfirm: the answers and their exit codes; an interruption does not wait for
// the line.
func TestConfirm(t *testing.T) {
	for _, test := range []struct {
		in   string
		code int
	}{{"lose 3\n", exitOK}, {"  lose 3", exitOK}, {"lose 4\n", exitConflict}, {"\n", exitConflict}, {"", exitConflict}} {
		var out bytes.Buffer
		a := &app{in: strings.NewReader(test.in), err: &out, started: true}
		if code := a.report(a.confirmTyped(t.Context(), "Sure?", "lose 3")); code != test.code || !strings.HasPrefix(out.String(), "Sure? Type 'lose 3' to go on: ") {
			t.Errorf("%q: %d, %q", test.in, code, out.String())
		}
	}
	silent, never := io.Pipe()
	defer never.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out bytes.Buffer
	err := (&app{in: silent, err: &out}).confirmTyped(ctx, "Sure?", "yes")
	var f *failure
	if !errors.As(err, &f) || f.code != exitFailure || !strings.Contains(f.text, "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
}

// TestPermissionDenied: a file that may not be read is not one that is not there.
func TestPermissionDenied(t *testing.T) {
	var out bytes.Buffer
	a := &app{err: &out, started: true}
	err := fmt.Errorf("--ca: %w", &fs.PathError{Op: "open", Path: "/srv/root.crt", Err: syscall.EACCES})
	if code := a.report(err); code != exitAuth || !strings.Contains(out.String(), "/srv/root.crt: permission denied (--ca)") {
		t.Errorf("%d, %s", code, out.String())
	}
}
