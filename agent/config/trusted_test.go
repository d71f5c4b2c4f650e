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
