package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJoinLeavesOthersFoldersAlone: a join that fails takes back nothing through a link
// that another user has put in the place of the state folder.
func TestJoinLeavesOthersFoldersAlone(t *testing.T) {
	root := os.Geteuid() == 0
	dir := t.TempDir()
	victim, others := filepath.Join(dir, "victim"), filepath.Join(dir, "others")
	precious := filepath.Join(victim, "web.internal", "precious")
	for _, folder := range []string{filepath.Dir(precious), filepath.Join(others, "state")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{others, filepath.Join(others, "state")} {
		if err := os.Chown(at, 65534, 65534); err != nil && root {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, filepath.Join(others, "state", "certificates")); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{filepath.Join(others, "state"), filepath.Join(others, "new", "state")} {
		f := joinFlags{dir: filepath.Join(dir, "own"), state: state, names: []string{"web.internal"}, profile: "server", key: "ecdsa-p256"}
		err := f.join(t.Context(), &app{fingerprint: "none"}, "localhost:1")
		if err == nil || root && !strings.Contains(err.Error(), "choose another --state") {
			t.Errorf("%s: %v", state, err)
		}
		if _, err := os.Stat(precious); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		if _, err := os.Stat(f.dir); err == nil {
			t.Errorf("%s: %s was left", state, f.dir)
		}
	}
}
