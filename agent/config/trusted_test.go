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
