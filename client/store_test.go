package client

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/client/schedule"
)

// TestFolder: a restart takes up what was kept, and only if it is what is wished for.
func TestFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		wish := asked(p)
		wish.Folder = filepath.Join(t.TempDir(), "kept")
		first, _ := p.kept(wish)
		serial := first.Status().Leaf.SerialNumber
		first.Close()
		path := filepath.Join(wish.Folder, fileName)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
		p.signErr = status.Error(codes.Unavailable, "down")
		again, events := p.kept(wish)
		again.Close()
		if again.Status().Leaf.SerialNumber.Cmp(serial) != 0 || p.signs != 1 || kinds(*events) != "found" {
			t.Errorf("%s, %d signed", kinds(*events), p.signs)
		}
		p.signErr = nil
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*Wish){
			"another name":    func(w *Wish) { w.Names = []string{"other.internal"} },
			"another profile": func(w *Wish) { w.Profile = "other" },
			"another kind":    func(w *Wish) { w.Key = "ed25519" },
			"another root":    func(w *Wish) { w.CA.CAFile = newPaper(t, time.Hour).file() },
			"cut off":         func(*Wish) { _ = os.WriteFile(path, good[:len(good)/2], 0o600) },
			"garbage":         func(*Wish) { _ = os.WriteFile(path, []byte("x"), 0o600) },
			"nothing":         func(*Wish) { _ = os.Remove(path) },
			"expired":         func(*Wish) { <-time.After(2 * time.Hour) },
		} {
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			changed := wish
			signs := p.signs
			change(&changed)
			k, _ := p.kept(changed)
			k.Close()
			if p.signs != signs+1 {
				t.Errorf("%s: %d signed", name, p.signs-signs)
			}
		}
		refused := func(name, want string, change error) {
			t.Helper()
			if change != nil {
				t.Fatal(name, change)
			}
			if _, err := open(t.Context(), wish, p, schedule.Rules{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		refused("open permissions", "readable by others", os.Chmod(path, 0o640))
		if os.Geteuid() == 0 {
			refused("another user's", "of another user", errors.Join(os.Chmod(path, 0o600), os.Chown(path, 65534, 65534)))
		}
		elsewhere := filepath.Join(t.TempDir(), "x")
		refused("a link", "not a regular file", errors.Join(os.WriteFile(elsewhere, good, 0o600), os.Remove(path), os.Symlink(elsewhere, path)))
		refused("a pipe", "not a regular file", errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)))
		// A folder that cannot be written is told, and the certificate is used.
		wish.Folder = path // a file
		if _, err := open(t.Context(), wish, p, schedule.Rules{}); err == nil {
			t.Error("a file is no folder")
		}
	})
}

// TestFolderLost: the certificate is handed out though it cannot be kept.
func TestFolderLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		wish := asked(p)
		wish.Folder = filepath.Join(t.TempDir(), "kept")
		k, events := p.kept(wish)
		defer k.Close()
		if err := errors.Join(os.RemoveAll(wish.Folder), os.WriteFile(wish.Folder, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		before := k.Status().Leaf
		if err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := k.Status(); s.Leaf == before || s.Err == nil || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		if !strings.HasSuffix(kinds(*events), "renewed not kept") {
			t.Error(kinds(*events))
		}
	})
}

func FuzzIdentity(f *testing.F) {
	p := newPaper(f, time.Hour)
	wish := asked(p)
	key, err := NewKey("ed25519")
	if err != nil {
		f.Fatal(err)
	}
	csr, err := CSR(key, ParseNames(wish.Names))
	if err != nil {
		f.Fatal(err)
	}
	answer, err := p.issue(string(csr), "x")
	if err != nil {
		f.Fatal(err)
	}
	c, err := wish.accept(key, answer, poolOf([]*x509.Certificate{p.root}))
	if err != nil {
		f.Fatal(err)
	}
	text, err := wish.encodeIdentity(newHeld(c, []*x509.Certificate{p.root}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(fmt.Sprint("-----BEGIN CERTIFICATE-----\n", "AAAA\n-----END CERTIFICATE-----\n")))
	f.Fuzz(func(_ *testing.T, text []byte) {
		kept, err := parseIdentity(text)
		if err == nil {
			_ = wish.fits(kept.certificate, poolOf([]*x509.Certificate{p.root}))
		}
	})
}
