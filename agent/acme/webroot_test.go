package acme

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const token, proof = "0123456789abcdef", "0123456789abcdef.thumb"

// TestWebroot: who else can write in the webroot leads the agent nowhere: no link is
// followed, no file is written to, and no path is believed.
func TestWebroot(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for name, test := range map[string]struct {
		plant func(dir, outside string) error
		fails bool
	}{
		"nothing there":   {plant: func(string, string) error { return nil }},
		"left by a crash": {plant: func(dir, _ string) error { return file(dir, token, "old") }},
		"a link as file": {plant: func(dir, outside string) error {
			return errors.Join(challenges(dir), os.Symlink(filepath.Join(outside, "x"), filepath.Join(dir, wellKnown, token)))
		}},
		"a link inside": {plant: func(dir, _ string) error {
			return errors.Join(file(dir, "index.html", "page"), os.Symlink("index.html", filepath.Join(dir, wellKnown, token)))
		}},
		"a hard link": {plant: func(dir, outside string) error {
			return errors.Join(challenges(dir), os.Link(filepath.Join(outside, "x"), filepath.Join(dir, wellKnown, token)))
		}},
		"a link as folder": {fails: true, plant: func(dir, outside string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".well-known"), 0o755), os.Symlink(outside, filepath.Join(dir, wellKnown)))
		}},
		"a link to another folder of it": {fails: true, plant: func(dir, _ string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.Symlink("a", filepath.Join(dir, ".well-known")))
		}},
		"a folder as file": {fails: true, plant: func(dir, _ string) error {
			return os.MkdirAll(filepath.Join(dir, wellKnown, token, "full"), 0o755)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			if err := errors.Join(os.WriteFile(filepath.Join(outside, "x"), []byte("theirs"), 0o600), test.plant(dir, outside)); err != nil {
				t.Fatal(err)
			}
			w := &webroot{dir: dir}
			if err := w.Present("", token, proof); (err != nil) != test.fails {
				t.Fatal(err)
			}
			if !test.fails {
				served := filepath.Join(dir, wellKnown, token)
				text, err := os.ReadFile(served)
				info, _ := os.Lstat(served)
				if err != nil || string(text) != proof || info.Mode() != 0o644 {
					t.Errorf("%q %v %v", text, info.Mode(), err)
				}
				if err := w.CleanUp("", token, proof); err != nil {
					t.Error(err)
				}
				if _, err := os.Lstat(served); !errors.Is(err, os.ErrNotExist) {
					t.Error(err)
				}
			}
			if text, err := os.ReadFile(filepath.Join(outside, "x")); err != nil || string(text) != "theirs" {
				t.Errorf("outside is %q %v", text, err)
			}
			if all, err := os.ReadDir(outside); err != nil || len(all) != 1 {
				t.Errorf("outside has %v %v", all, err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, wellKnown, "index.html")); err == nil && string(text) != "page" {
				t.Errorf("another page is %q", text)
			}
		})
	}
	w := &webroot{dir: t.TempDir()}
	for _, bad := range []string{"../../../../etc/cron.d/x", "a/../b/0123456789abcdef", "..", "", "0123456789abcde", "0123456789abcdef\x00", "0123456789abcdef\n", "0123456789abcdeé", strings.Repeat("a", 257)} {
		if w.Present("", bad, bad+".thumb") == nil || w.CleanUp("", bad, bad+".thumb") == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func challenges(dir string) error { return os.MkdirAll(filepath.Join(dir, wellKnown), 0o755) }

func file(dir, name, text string) error {
	return errors.Join(challenges(dir), os.WriteFile(filepath.Join(dir, wellKnown, name), []byte(text), 0o644))
}
