package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTrusted: root does not work with what others could change.
func TestTrusted(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "in", "side")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Trusted(inside); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(inside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Trusted(filepath.Join(dir, "link")); err != nil {
		t.Error(err)
	}
	root := os.Geteuid() == 0
	// Links on the way: relative, upwards, absolute, one after the other, and in a ring.
	chain := filepath.Join(dir, "chain")
	for link, target := range map[string]string{
		chain: "in/../middle", filepath.Join(dir, "middle"): filepath.Join(dir, "last"), filepath.Join(dir, "last"): "in/side",
		filepath.Join(dir, "ring"): "ring",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := Trusted(chain); err != nil {
		t.Error(err)
	}
	if err := Trusted(filepath.Join(dir, "ring")); (err != nil) != root {
		t.Errorf("a ring: %v", err)
	}
	if root {
		for _, link := range []string{"chain", "middle", "last"} {
			if err := os.Lchown(filepath.Join(dir, link), 65534, 65534); err != nil {
				t.Fatal(err)
			}
			if err := Trusted(chain); err == nil {
				t.Errorf("%s is somebody else's link", link)
			}
			if err := os.Lchown(filepath.Join(dir, link), 0, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(path string) error{
		"of all":   func(path string) error { return os.Chmod(path, 0o777) },
		"nobody's": func(path string) error { return os.Chown(path, 65534, 65534) },
	} {
		for _, path := range []string{inside, filepath.Dir(inside)} {
			if err := change(path); err != nil && root {
				t.Fatal(err)
			}
			if err := Trusted(inside); (err != nil) != root {
				t.Errorf("%s %s: %v", path, name, err)
			}
			if root {
				if err := os.Chown(path, 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTrustedChain: each link of a chain is judged, not its ends alone, and ".." after
// a link is the folder above its target.
func TestTrustedChain(t *testing.T) {
	dir := t.TempDir()
	program, theirs, ours := filepath.Join(dir, "program"), filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(program, nil, 0o755))
	must(os.Mkdir(filepath.Join(dir, "open"), 0o755))
	must(os.Symlink("program", theirs))
	must(os.Symlink(theirs, ours))
	must(os.Symlink(program, filepath.Join(dir, "open", "link")))
	must(os.Symlink("open/link", filepath.Join(dir, "through")))
	must(os.Symlink("open", filepath.Join(dir, "folder")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	all := []string{ours, filepath.Join(dir, "through"), dir + "/folder/../program"}
	for _, path := range all {
		if err := Trusted(path); err != nil {
			t.Error(err)
		}
	}
	root := os.Geteuid() == 0
	if err := Trusted(filepath.Join(dir, "loop")); (err != nil) != root {
		t.Error(err)
	}
	must(os.Chmod(filepath.Join(dir, "open"), 0o777))
	if root {
		must(os.Lchown(theirs, 65534, 65534))
	}
	for _, path := range all {
		if err := Trusted(path); (err != nil) != root {
			t.Errorf("%s: %v", path, err)
		}
	}
	must(os.Chmod(program, 0o777|os.ModeSticky)) // which says something of folders alone
	if err := Trusted(program); (err != nil) != root {
		t.Error(err)
	}
}
