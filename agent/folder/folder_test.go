package folder_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/client"
)

func all(dir string) *folder.Folder {
	return &folder.Folder{
		Dir: dir, Mode: 0o600, PublicMode: 0o644, UID: -1, GID: -1,
		Files: config.Files{Key: "key.pem", Cert: "cert.pem", Chain: "chain.pem", Fullchain: "fullchain.pem", Combined: "all.pem"},
	}
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	ca, dir := agenttest.New(t), filepath.Join(t.TempDir(), "a", "web")
	f := all(dir)
	if h, err := f.Held(); h != nil || err != nil {
		t.Fatalf("before: %v %v", h, err)
	}
	for range 4 {
		h := ca.Held("web.internal")
		must(t, f.Publish(h))
		got, err := f.Held()
		if err != nil || got.ID() != h.ID() || !folder.Matches(got.Key, h.Leaf()) || len(got.Chain) != 2 {
			t.Fatalf("held: %v %v", got, err)
		}
		if _, err := tls.X509KeyPair(read(t, dir, "fullchain.pem"), read(t, dir, "key.pem")); err != nil {
			t.Error(err)
		}
		if pair, err := tls.X509KeyPair(read(t, dir, "all.pem"), read(t, dir, "all.pem")); err != nil || len(pair.Certificate) != 2 {
			t.Error(err)
		}
		if cert, chain := read(t, dir, "cert.pem"), read(t, dir, "chain.pem"); !bytes.Equal(append(cert, chain...), read(t, dir, "fullchain.pem")) || !bytes.Equal(chain, agenttest.PEM(ca.Issuer)) {
			t.Error("fullchain is not cert and chain")
		}
		if !f.Fits() {
			t.Error("it does not fit")
		}
	}
	for name, want := range map[string]fs.FileMode{"key.pem": 0o600, "all.pem": 0o600, "cert.pem": 0o644, "current/.held.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	generations, err := filepath.Glob(filepath.Join(dir, ".gen-*"))
	if err != nil || len(generations) != 2 || filepath.Base(generations[1]) != ".gen-000004" {
		t.Errorf("generations: %v %v", generations, err)
	}
	// Other names and permissions: the same certificate in a new generation.
	h, err := f.Held()
	must(t, err)
	f.Files, f.Mode = config.Files{Combined: "web.pem"}, 0o640
	if f.Fits() {
		t.Error("it fits other names")
	}
	must(t, f.Publish(h))
	if _, err := os.Lstat(filepath.Join(dir, "key.pem")); !errors.Is(err, fs.ErrNotExist) || !f.Fits() {
		t.Errorf("an old link is there: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "web.pem")); err != nil || info.Mode().Perm() != 0o640 {
		t.Error(err)
	}
}

// TestForeign: what others have put where the files go is not replaced, and nothing
// is written outside the folder.
func TestForeign(t *testing.T) {
	ca := agenttest.New(t)
	h := ca.Held("web.internal")
	for name, plant := range map[string]func(dir, outside string) error{
		"a file":         func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "key.pem"), nil, 0o600) },
		"a folder":       func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "current"), 0o700) },
		"a link away":    func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "key.pem")) },
		"current away":   func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "current")) },
		"no folder":      func(dir, _ string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) },
		"building away":  func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, ".new")) },
		"next gen there": func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, ".gen-000001")) },
	} {
		dir, outside := t.TempDir(), t.TempDir()
		must(t, os.WriteFile(filepath.Join(outside, "x"), []byte("x"), 0o600))
		must(t, plant(dir, outside))
		f := all(dir)
		err := f.Publish(h)
		harmless := strings.HasPrefix(name, "building") || strings.HasPrefix(name, "next")
		if (err == nil) != harmless {
			t.Errorf("%s: %v", name, err)
		}
		entries, err := os.ReadDir(outside)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: outside has %v", name, entries)
		}
	}
}

func fine(*folder.Held) error { return nil }

// TestAdopt: a certificate that is there as plain files is taken over.
func TestAdopt(t *testing.T) {
	ca := agenttest.New(t)
	h := ca.Held("web.internal")
	key, err := client.EncodeKey(h.Key)
	must(t, err)
	full := agenttest.PEM(h.Chain...)
	for name, files := range map[string]map[string][]byte{
		"all":           {"key.pem": key, "cert.pem": agenttest.PEM(h.Leaf()), "chain.pem": agenttest.PEM(ca.Issuer), "fullchain.pem": full},
		"key and chain": {"key.pem": key, "fullchain.pem": full},
		"combined":      {"all.pem": append(bytes.Clone(key), full...)},
		"a bare leaf":   {"key.pem": key, "cert.pem": agenttest.PEM(h.Leaf())},
	} {
		dir := t.TempDir()
		for file, data := range files {
			must(t, os.WriteFile(filepath.Join(dir, file), data, 0o600))
		}
		f := all(dir)
		got, err := f.Adopt(fine)
		if err != nil || got == nil || got.ID() != h.ID() {
			t.Errorf("%s: %v %v", name, got, err)
			continue
		}
		must(t, f.Ready())
		if again, err := f.Held(); err != nil || again.ID() != h.ID() {
			t.Errorf("%s: %v %v", name, again, err)
		}
		// A crash in the middle has left one plain file: the same again mends it.
		must(t, os.Remove(filepath.Join(dir, "key.pem")))
		must(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
		if _, err := f.Adopt(fine); err != nil || f.Ready() != nil {
			t.Errorf("%s: again: %v %v", name, err, f.Ready())
		}
		must(t, f.Publish(ca.Held("web.internal")))
	}
	other, err := client.EncodeKey(agenttest.Key(t))
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), other, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "fullchain.pem"), full, 0o600))
	if _, err := all(dir).Adopt(fine); err == nil || !strings.Contains(err.Error(), "not the certificate's") {
		t.Errorf("another key: %v", err)
	}
	if h, err := all(t.TempDir()).Adopt(fine); h != nil || err != nil {
		t.Errorf("an empty folder: %v %v", h, err)
	}
}

// TestRefused: files that are not taken over stay until a new certificate takes their
// place, and then under a second name; a process that dies in between is gone on from.
func TestRefused(t *testing.T) {
	ca, dir := agenttest.New(t), t.TempDir()
	theirs, ours := ca.Held("web.internal"), ca.Held("web.internal")
	key, err := client.EncodeKey(theirs.Key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "fullchain.pem"), agenttest.PEM(theirs.Chain...), 0o644))
	f := all(dir)
	no := errors.New("not what is wanted")
	for range 2 {
		h, err := f.Adopt(func(*folder.Held) error { return no })
		var refused *folder.Refused
		if h != nil || !errors.As(err, &refused) || !errors.Is(err, no) || refused.Kept != filepath.Join(dir, ".aside") {
			t.Fatalf("%v %v", h, err)
		}
		must(t, f.Ready())
	}
	if !bytes.Equal(read(t, dir, "key.pem"), key) {
		t.Error("the key has gone")
	}
	// It died after the first link: the key is the new one, the chain the old one.
	must(t, f.Publish(ours))
	must(t, os.Remove(filepath.Join(dir, "fullchain.pem")))
	must(t, os.Link(filepath.Join(dir, ".aside", "fullchain.pem"), filepath.Join(dir, "fullchain.pem")))
	if f.Fits() {
		t.Error("a file of others fits")
	}
	must(t, f.Ready())
	must(t, f.Publish(ours))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "key.pem"))
	if err != nil || !bytes.Equal(pair.Certificate[0], ours.Leaf().Raw) || !f.Fits() {
		t.Error(err)
	}
	if !bytes.Equal(read(t, dir, ".aside", "key.pem"), key) {
		t.Error("the old key is not kept")
	}
	// Another file under the name is not the one that is kept.
	must(t, os.Remove(filepath.Join(dir, "key.pem")))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
	if err := f.Ready(); err == nil {
		t.Error("a new file of others may be replaced")
	}
}

// TestUmask: whatever the umask is, who shall read the key gets to it.
func TestUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "state", "web")
	f := all(dir)
	f.Mode = 0o640
	must(t, f.Publish(agenttest.New(t).Held("web.internal")))
	for name, want := range map[string]fs.FileMode{"..": 0o755, ".": 0o755, "current/.": 0o755, "key.pem": 0o640, "cert.pem": 0o644, "current/.held.pem": 0o600} {
		if info, err := os.Stat(dir + "/" + name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// TestSwapped: a link that another user has put in the place of the folder, or of one
// above it, is not followed.
func TestSwapped(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can be led by another user's link to where he may not write himself
	}
	h := agenttest.New(t).Held("web.internal")
	for _, below := range []string{"", "web"} {
		dir, outside := t.TempDir(), t.TempDir()
		must(t, os.Symlink(outside, filepath.Join(dir, "link")))
		must(t, os.Lchown(filepath.Join(dir, "link"), 65534, 65534))
		f := all(filepath.Join(dir, "link", below))
		if err := f.Publish(h); err == nil || !strings.Contains(err.Error(), "it is not followed") {
			t.Error(err)
		}
		if _, err := f.Held(); err == nil {
			t.Error("it was read")
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Errorf("outside has %v %v", entries, err)
		}
	}
}

const killed = "CERTWRIGHT_TEST_PUBLISHES_INTO"

// TestMain is also the process that TestKill kills.
func TestMain(m *testing.M) {
	dir := os.Getenv(killed)
	if dir == "" {
		os.Exit(m.Run()) //nolint:forbidigo // a test's main
	}
	for n := 0; ; n++ {
		h, err := folder.ParseHeld(mustRead(filepath.Join(dir, "source", []string{"a", "b"}[n%2])))
		if err == nil {
			err = all(filepath.Join(dir, "web")).Publish(h)
		}
		if err != nil {
			panic(err)
		}
	}
}

func mustRead(file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return data
}

// TestKill: a process that publishes in a loop is killed (kill -9), at any moment. What
// is there then is one whole certificate with its key, under every name, and the next
// process goes on from there. While it runs, each generation that "current" names is whole too.
func TestKill(t *testing.T) {
	ca, dir := agenttest.New(t), t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "source"), 0o700))
	for _, name := range []string{"a", "b"} {
		h := ca.Held(name + ".internal")
		key, err := client.EncodeKey(h.Key)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "source", name), append(key, agenttest.PEM(h.Chain...)...), 0o600))
	}
	web := filepath.Join(dir, "web")
	seen := 0
	for round := range 15 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killed+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		must(t, cmd.Start())
		// It is killed a while after it has published for the first time.
		before, _ := os.Readlink(filepath.Join(web, "current"))
		timer := time.After(30 * time.Second)
		begun := false
		for running := true; running; {
			if now, err := os.Readlink(filepath.Join(web, "current")); err == nil && now != before && !begun {
				begun, timer = true, time.After(time.Duration(5*round)*time.Millisecond)
			}
			select {
			case <-timer:
				running = false
			default:
				generation, err := os.Readlink(filepath.Join(web, "current"))
				if err != nil {
					continue
				}
				// The generation before is kept: only a reader that two more have overtaken finds it gone.
				key, err1 := os.ReadFile(filepath.Join(web, generation, "key.pem"))
				chain, err2 := os.ReadFile(filepath.Join(web, generation, "fullchain.pem"))
				if err1 == nil && err2 == nil {
					seen++
					if _, err := tls.X509KeyPair(chain, key); err != nil {
						t.Fatalf("%s: %v", generation, err)
					}
				}
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatalf("the process failed: %s", &stderr)
		}
		if _, err := os.Lstat(filepath.Join(web, "current")); err != nil {
			continue // killed before the first was there
		}
		h, err := all(web).Held()
		must(t, err)
		pair, err := tls.LoadX509KeyPair(filepath.Join(web, "fullchain.pem"), filepath.Join(web, "key.pem"))
		must(t, err)
		combined, err := folder.ParseHeld(read(t, web, "all.pem"))
		must(t, err)
		leaf, err := x509.ParseCertificate(decode(read(t, web, "cert.pem")))
		must(t, err)
		if !bytes.Equal(pair.Certificate[0], h.Leaf().Raw) || combined.ID() != h.ID() || !leaf.Equal(h.Leaf()) {
			t.Fatal("the files are of different certificates")
		}
	}
	if seen == 0 {
		t.Error("no generation was seen")
	}
}

func decode(text []byte) []byte {
	block, _ := pem.Decode(text)
	return block.Bytes
}

func TestState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	var v map[string]int
	if found, err := folder.ReadJSON(file, &v); found || err != nil {
		t.Error(found, err)
	}
	must(t, folder.WriteJSON(file, map[string]int{"a": 1}, 0o640))
	must(t, folder.WriteJSON(file, map[string]int{"a": 2}, 0o640))
	if found, err := folder.ReadJSON(file, &v); !found || err != nil || v["a"] != 2 {
		t.Error(found, err, v)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Error(info, err)
	}
	must(t, os.WriteFile(file, bytes.Repeat([]byte(" "), 17<<20), 0o600))
	if _, err := folder.ReadJSON(file, &v); err == nil {
		t.Error("a huge file")
	}
	must(t, folder.Remove(file))
	must(t, folder.Remove(file))
}

func FuzzParseHeld(f *testing.F) {
	ca := agenttest.New(f)
	h := ca.Held("x.internal")
	key, err := client.EncodeKey(h.Key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(key, agenttest.PEM(h.Chain...)...))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := folder.ParseHeld(data)
		if err == nil && !folder.Matches(got.Key, got.Leaf()) {
			t.Error("a key that is not the certificate's")
		}
	})
}
