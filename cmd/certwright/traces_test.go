package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTracesLeadNowhere: what others put in the place of a trace is not taken back, nor
// what it leads to; a --dir or --state that they could change is refused before that.
func TestTracesLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	victim, state := filepath.Join(dir, "victim"), filepath.Join(dir, "state")
	f := &joinFlags{names: []string{"web.internal"}, dir: filepath.Join(dir, "own"), state: state, key: keyNames[0]}
	c, err := f.config("ca.internal:8444")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(victim, "certificates", c.Certificates[0].Name, "kept")
	must(os.MkdirAll(theirs, 0o755))
	made := tracesOf(f.dir, c)
	must(os.MkdirAll(filepath.Join(f.dir), 0o755))
	must(os.Symlink(victim, state))
	if os.Geteuid() == 0 {
		must(os.Lchown(state, 65534, 65534))
		made.remove()
		if !exists(theirs) || !exists(state) {
			t.Error("a link was followed")
		}
	}
	if exists(f.dir) == (os.Geteuid() == 0) {
		t.Error("what was made is there")
	}
	must(os.Remove(state))
	must(os.Mkdir(filepath.Join(dir, "open"), 0o755))
	must(os.Chmod(filepath.Join(dir, "open"), 0o777))
	for flag, f := range map[string]*joinFlags{
		"--dir":   {dir: filepath.Join(dir, "open", "x"), state: state},
		"--state": {dir: f.dir, state: filepath.Join(dir, "open", "x")},
	} {
		f.names, f.key = []string{"web.internal"}, keyNames[0]
		if err := f.join(context.Background(), &app{}, "ca.internal:8444"); err == nil || !strings.Contains(err.Error(), "can be changed by others") || !strings.HasSuffix(err.Error(), "choose another "+flag) {
			t.Errorf("%s: %v", flag, err)
		}
		if exists(filepath.Join(dir, "open", "x")) || exists(state) {
			t.Errorf("%s: something was made", flag)
		}
	}
}
