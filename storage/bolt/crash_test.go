package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/storagetest"
)

// child is the variable by which the test binary runs as a child of a test.
const child = "CERTWRIGHT_BOLT_CHILD"

// asChild runs the same test in a new process on the database at path.
func asChild(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	return command(t, t.Name(), path)
}

// command is a new process that runs a test on the database at path.
func command(t *testing.T, test, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKill kills a process that issues with 16 callers, several times over, and
// looks for everything that it was answered.
func TestKill(t *testing.T) {
	if path := os.Getenv(child); path != "" {
		issueForEver(t, path)
		return
	}
	path := create(t)
	var answered []string
	for round := range 5 {
		cmd := asChild(t, path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		before := len(answered)
		for lines.Scan() {
			if serial, ok := strings.CutPrefix(lines.Text(), "issued "); ok {
				answered = append(answered, serial)
			}
			if len(answered) == before+100+37*round {
				_ = cmd.Process.Kill() // what it still has answered follows in the pipe
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child has ended by itself")
		}
		s := open(t, bolt.Config{Path: path})
		checkAnswered(t, s, answered)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func issueForEver(t *testing.T, path string) {
	s := open(t, bolt.Config{Path: path})
	issuer := storagetest.NewIssuer(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				i := issuer.Issue(t, storagetest.Spec{})
				for _, c := range []storage.Command{i.Reserve, i.Complete} {
					if _, err := s.Commit(context.Background(), storage.Unit{c}); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				fmt.Printf("issued %s/%s\n", issuer.ID, i.Reserve.Serial)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func checkAnswered(t *testing.T, s storage.Store, answered []string) {
	t.Helper()
	known := map[string]bool{}
	q := storage.Query{Order: storage.ByIndex, Limit: 1000}
	for {
		page, err := s.Certificates(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Certificates {
			known[c.Issuer.String()+"/"+c.Serial.String()] = c.State == storage.Issued
		}
		if q.After = page.Next; q.After == nil {
			break
		}
	}
	for _, serial := range answered {
		if !known[serial] {
			t.Errorf("%s was answered and is not there", serial)
		}
	}
	if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { t.Errorf("finding %+v", f) }); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk lets a child's file grow no further (RLIMIT_FSIZE: the write
// fails as on a full disk) and looks at what its store does then.
func TestFullDisk(t *testing.T) {
	if path := os.Getenv(child); path != "" {
		fillUp(t, path)
		return
	}
	path := create(t)
	if out, err := asChild(t, path).Output(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	s := open(t, bolt.Config{Path: path})
	defer s.Close()
	checkAnswered(t, s, nil)
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("after")}); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func fillUp(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(info.Size()) + 1<<20, Max: uint64(info.Size()) + 1<<20}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	failing(t, open(t, bolt.Config{Path: path}))
}

// failing writes until a write fails, and checks the state after it.
func failing(t *testing.T, s *bolt.Store) {
	t.Helper()
	issuer := storagetest.NewIssuer(t)
	first := issuer.Issue(t, storagetest.Spec{})
	if _, err := s.Commit(t.Context(), storage.Unit{first.Reserve, first.Complete}); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 50_000)
	var err error
	for n := 0; err == nil && n < 1000; n++ {
		_, err = s.Commit(t.Context(), storage.Unit{storagetest.Action(body)})
	}
	if !errors.Is(err, storage.ErrUnknownOutcome) {
		t.Fatalf("the failed write: %v", err)
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("more")}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("the write after it: %v", err)
	}
	if c, err := s.BySerial(t.Context(), issuer.ID, first.Reserve.Serial); err != nil || c.State != storage.Issued {
		t.Errorf("a read after it: %v", err)
	}
	if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { t.Errorf("finding %+v", f) }); err != nil {
		t.Error(err)
	}
	if !s.Stats().Failed {
		t.Error("the statistics do not say so")
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestNearlyFull(t *testing.T) {
	path := create(t)
	issuer := storagetest.NewIssuer(t)
	i := issuer.Issue(t, storagetest.Spec{})
	s := open(t, bolt.Config{Path: path, Reserve: -1})
	if _, err := s.Commit(t.Context(), storage.Unit{i.Reserve}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, bolt.Config{Path: path, Reserve: 1 << 62})
	defer s.Close()
	_, err := s.Commit(t.Context(), storage.Unit{issuer.Issue(t, storagetest.Spec{}).Reserve})
	if problem.KindOf(err) != problem.Unavailable {
		t.Errorf("a new certificate: %v", err)
	}
	for _, c := range []storage.Command{i.Complete, i.Revoke(t, identity.Superseded)} {
		if _, err := s.Commit(t.Context(), storage.Unit{c}); err != nil {
			t.Errorf("%T: %v", c, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	path := create(t)
	s := open(t, bolt.Config{Path: path})
	_, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if !errors.Is(err, bolt.ErrLocked) || problem.KindOf(err) != problem.FailedPrecondition || !strings.Contains(err.Error(), "--data") {
		t.Errorf("locked: %v", err)
	}
	if _, err := bolt.Open(t.Context(), bolt.Config{Path: path, ReadOnly: true}); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("locked, to read: %v", err)
	}
	if err := bolt.Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("create again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("closed twice")
	}
	dir := t.TempDir()
	if _, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(dir, "none.db")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := bolt.Create(filepath.Join(dir, "none", "x.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("text ", 4000)} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bolt.Open(t.Context(), bolt.Config{Path: file}); problem.KindOf(err) != problem.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(file); err != nil || string(after) != content {
			t.Errorf("%s: opening has changed it (%v)", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestReadOnly(t *testing.T) {
	path := create(t)
	s := open(t, bolt.Config{Path: path})
	i := storagetest.NewIssuer(t).Issue(t, storagetest.Spec{})
	if _, err := s.Commit(t.Context(), storage.Unit{i.Reserve, i.Complete}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, bolt.Config{Path: path, ReadOnly: true})
	defer s.Close()
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("x")}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("commit: %v", err)
	}
	checkAnswered(t, s, []string{i.Reserve.Issuer.String() + "/" + i.Reserve.Serial.String()})
}
