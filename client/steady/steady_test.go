package steady

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLinks: our own links on the way are followed, relative, absolute and through
// "..", those of another user are not; nor are links in the folder.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a", "b", "x"), []byte("x"), 0o600))
	for name, target := range map[string]string{"relative": "a", "absolute": filepath.Join(dir, "a"), "up": "a/b/..", "loop": "loop"} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
		root, err := Open(filepath.Join(dir, name, "b"))
		if name == "loop" {
			if err == nil {
				t.Error("a loop was left")
			}
			continue
		}
		must(t, err)
		if data, _, err := Read(root, "x", 1); err != nil || string(data) != "x" {
			t.Errorf("%s: %q %v", name, data, err)
		}
		if _, err := Inside(root, "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		must(t, root.Close())
	}
	root, err := Open(dir)
	must(t, err)
	defer root.Close()
	if _, err := Inside(root, "relative"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a link in the folder: %v", err)
	}
	must(t, os.Symlink("a/b/x", filepath.Join(dir, "to file")))
	if _, _, err := Read(root, "to file", 1); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link to a file: %v", err)
	}
	if os.Geteuid() == 0 {
		must(t, os.Lchown(filepath.Join(dir, "relative"), nobody, nobody))
		for _, open := range []func(string) (*os.Root, error){Open, func(path string) (*os.Root, error) { return Make(path, 0o755) }} {
			if _, err := open(filepath.Join(dir, "relative", "b")); err == nil || !strings.Contains(err.Error(), "a link of somebody else's") {
				t.Errorf("another user's link: %v", err)
			}
		}
	}
	must(t, os.Chmod(dir, 0o777))
	if _, err := Open(filepath.Join(dir, "absolute", "b")); err == nil {
		t.Error("a link that others can change was followed")
	}
}

// TestMake: what is made has its permissions whatever the umask is.
func TestMake(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		root, err := Make(dir, 0o755)
		must(t, err)
		must(t, root.Close())
	}
	for _, each := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(each); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", each, info.Mode(), err)
		}
	}
}

// TestWrite: a file is new or it is not made; what is in its place is not written to.
func TestWrite(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("theirs"), 0o600))
	must(t, os.Link(outside, filepath.Join(dir, "hard")))
	must(t, os.Symlink(outside, filepath.Join(dir, "soft")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	root, err := Open(dir)
	must(t, err)
	defer root.Close()
	for _, name := range []string{"hard", "soft", "dangling"} {
		if err := Create(root, name, Plain([]byte("ours"), 0o640)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, Replace(root, name, Plain([]byte("ours"), 0o640)))
		if data, info, err := Read(root, name, 4); err != nil || string(data) != "ours" || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %q %v", name, data, err)
		}
		if _, _, err := ReadSecret(root, name, 4); err == nil || !strings.Contains(err.Error(), "0640: the key in it was readable") {
			t.Error(err)
		}
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "theirs" {
		t.Errorf("outside is %q %v", data, err)
	}
	if _, _, err := Read(root, "hard", 3); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if _, _, err := Read(root, "pipe", 3); err == nil {
		t.Error("a pipe was read")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if os.Geteuid() == 0 {
		must(t, Replace(root, "given", File{Data: []byte("x"), Mode: 0o400, UID: nobody, GID: nobody}))
		if _, _, err := ReadSecret(root, "given", 4); err == nil || !strings.Contains(err.Error(), "of another user") {
			t.Error(err)
		}
	}
}

// TestNew: a folder that somebody has put there first is not taken.
func TestNew(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	root, err := Open(dir)
	must(t, err)
	defer root.Close()
	inside, err := New(root, "a", 0o755)
	must(t, err)
	must(t, Create(inside, "x", Plain(nil, 0o600)))
	must(t, inside.Close())
	must(t, os.Symlink(outside, filepath.Join(dir, "b")))
	for _, name := range []string{"a", "b"} {
		if _, err := New(root, name, 0o755); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const passes = "CERTWRIGHT_TEST_OPENS"

// TestMain is also the other user of TestPassage.
func TestMain(m *testing.M) {
	if dir := os.Getenv(passes); dir != "" {
		root, err := Make(filepath.Join(dir, "in", "side"), 0o700)
		if err == nil {
			err = Replace(root, "x", Plain([]byte("x"), 0o600))
		}
		if err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run()) //nolint:forbidigo // a test's main
}

// TestPassage: a folder that may be gone through and not be looked into is no hindrance.
// Root may look into all, so another user is needed for this.
func TestPassage(t *testing.T) {
	dir, err := os.MkdirTemp("", "passage") //nolint:usetesting // t.TempDir has a folder above that is closed to others
	must(t, err)
	defer os.RemoveAll(dir)
	own := filepath.Join(dir, "own")
	must(t, os.Mkdir(own, 0o755))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{passes + "=" + own}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		must(t, os.Chown(own, nobody, nobody))
	}
	must(t, os.Chmod(dir, 0o311))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, os.Chmod(dir, 0o700))
	if data, err := os.ReadFile(filepath.Join(own, "in", "side", "x")); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
}

// TestSettle: what has come in the place of a folder that was made is left as it is.
func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		mode   fs.FileMode
		theirs bool
		want   fs.FileMode
	}{
		"as made":           {0o700, false, 0o755},
		"one of our others": {0o750, false, 0o750},
		"another user's":    {0o700, true, 0o700},
	} {
		if c.theirs && os.Geteuid() != 0 {
			continue
		}
		dir := filepath.Join(t.TempDir(), "made")
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chmod(dir, c.mode))
		if c.theirs {
			must(t, os.Chown(dir, nobody, nobody))
		}
		root, err := os.OpenRoot(dir)
		must(t, err)
		if err := settle(root, 0o755); (err != nil) != (c.want != 0o755) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, root.Close())
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != c.want {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}
