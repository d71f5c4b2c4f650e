package keys

import (
	"bytes"
	"crypto"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func passphrase(p string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(p), nil }
}

func TestCreateOpen(t *testing.T) {
	for _, alg := range []string{ECDSAP256, ECDSAP384, Ed25519, RSA2048, RSA3072} {
		for _, pass := range []func() ([]byte, error){nil, passphrase("correct horse")} {
			name := alg + " plain"
			if pass != nil {
				name = alg + " encrypted"
			}
			t.Run(name, func(t *testing.T) {
				cfg := Config{URI: "file:a.key", Dir: t.TempDir(), Passphrase: pass}
				made, err := Create(t.Context(), cfg, alg)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(cfg.Dir, "a.key")
				info, err := os.Stat(path)
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
				opened, err := Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if !opened.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(made.Public()) {
					t.Error("another key came back")
				}
				if got := Algorithm(opened.Public()); got != alg {
					t.Errorf("Algorithm %s", got)
				}
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Create(t.Context(), cfg, alg); !errors.Is(err, fs.ErrExist) {
					t.Errorf("Create over a key: %v", err)
				}
				if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
					t.Error("Create changed a key that was there")
				}
				if list, _ := os.ReadDir(cfg.Dir); len(list) != 1 {
					t.Errorf("files left: %v", list)
				}
				opensslReads(t, path, pass)
			})
		}
	}
}

// opensslReads: the file is PKCS#8 as others read it.
func opensslReads(t *testing.T, path string, pass func() ([]byte, error)) {
	t.Helper()
	p := ""
	if pass != nil {
		b, _ := pass()
		p = string(b)
	}
	if out, err := exec.CommandContext(t.Context(), "openssl", "pkey", "-in", path, "-noout", "-passin", "pass:"+p).CombinedOutput(); err != nil {
		t.Errorf("openssl pkey: %v\n%s", err, out)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, pass := range map[string]func() ([]byte, error){"plain.key": nil, "secret.key": passphrase("right")} {
		if _, err := Create(t.Context(), Config{URI: "file:" + name, Dir: dir, Passphrase: pass}, ECDSAP256); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, data []byte, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	plain, err := os.ReadFile(filepath.Join(dir, "plain.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("open.key", plain, 0o640)
	write("garbage.key", []byte("garbage"), 0o600)
	write("two.key", append(bytes.Clone(plain), plain...), 0o600)
	write("huge.key", make([]byte, maxFile+1), 0o600)
	tests := []struct {
		name string
		cfg  Config
		want string // in the error
	}{
		{"no URI", Config{URI: "issuing.key"}, "file:PATH"},
		{"no path", Config{URI: "file:"}, "file:PATH"},
		{"missing", Config{URI: "file:none.key", Dir: dir}, "no such file"},
		{"not in this build", Config{URI: "awskms:key-id=1"}, "this build has no key manager"},
		{"no such scheme", Config{URI: "carrier-pigeon:1"}, "no such kind of key"},
		{"readable by the group", Config{URI: "file:open.key", Dir: dir}, "chmod 600"},
		{"a pipe", Config{URI: "file:pipe.key", Dir: dir}, "not a regular file"},
		{"a folder", Config{URI: "file:.", Dir: dir}, "not a regular file"},
		{"garbage", Config{URI: "file:garbage.key", Dir: dir}, "not one private key"},
		{"two keys", Config{URI: "file:two.key", Dir: dir}, "not one private key"},
		{"too long", Config{URI: "file:huge.key", Dir: dir}, "too long"},
		{"encrypted, no passphrase", Config{URI: "file:secret.key", Dir: dir}, "configure its passphrase"},
		{"wrong passphrase", Config{URI: "file:secret.key", Dir: dir, Passphrase: passphrase("wrong")}, "passphrase is wrong"},
		{"empty passphrase", Config{URI: "file:secret.key", Dir: dir, Passphrase: passphrase("")}, "passphrase is empty"},
		{"passphrase, not encrypted", Config{URI: "file:plain.key", Dir: dir, Passphrase: passphrase("right")}, "not encrypted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(t.Context(), test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "right") {
				t.Errorf("the error shows the passphrase: %v", err)
			}
		})
	}
}

// TestAbsolute: both ways to write an absolute path.
func TestAbsolute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.key")
	if _, err := Create(t.Context(), Config{URI: "file:" + path}, Ed25519); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"file:" + path, "file://" + path} {
		if _, err := Open(t.Context(), Config{URI: uri, Dir: "/nowhere"}); err != nil {
			t.Error(err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, cfg := range []Config{{URI: "pkcs11:token=a"}, {URI: "file:no/such/folder/a.key", Dir: dir}, {URI: "a.key"}} {
		if _, err := Create(t.Context(), cfg, ECDSAP256); err == nil {
			t.Errorf("%s was made", cfg.URI)
		}
	}
	if _, err := Create(t.Context(), Config{URI: "file:a.key", Dir: dir}, "dsa"); err == nil {
		t.Error("dsa was made")
	}
}

func TestRedact(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:token=a;pin-value=1234;object=b":   "pkcs11:token=a;object=b",
		"pkcs11:token=a?pin-source=/x&pin-value=9": "pkcs11:token=a",
		"file:keys/a.key":                          "file:keys/a.key",
	} {
		if got := redact(uri); got != want {
			t.Errorf("redact(%s) = %s", uri, got)
		}
	}
}
