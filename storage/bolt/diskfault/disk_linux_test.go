package diskfault

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// child is the variable by which the test binary runs as a process behind a disk.
const child = "CERTWRIGHT_DISKFAULT_CHILD"

func TestMain(m *testing.M) {
	if folder := os.Getenv(child); folder != "" {
		if err := work(folder); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(3) //nolint:forbidigo // as a process
		}
		return
	}
	m.Run()
}

// work writes as a database does, and keeps a small file as a last-seen file is kept.
func work(folder string) error {
	f, err := os.OpenFile(filepath.Join(folder, "data"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Truncate(8192); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	for n := range 3 {
		if _, err := f.WriteAt([]byte(strings.Repeat(string(rune('a'+n)), 1024)), int64(1024*n)); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		if err := replace(folder, "note", "seen "+string(rune('a'+n))); err != nil {
			return err
		}
	}
	if err := os.Link(filepath.Join(folder, "note"), filepath.Join(folder, "linked")); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(folder, "note")); err != nil {
		return err
	}
	if err := replace(folder, "other", "seen d"); err != nil {
		return err
	}
	l, err := net.Listen("unix", filepath.Join(folder, "socket"))
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil { // removes it
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Bavail*uint64(st.Bsize) < 1<<20 {
		return errors.New("nearly full")
	}
	return f.Close()
}

func replace(folder, name, text string) error {
	temp, err := os.CreateTemp(folder, "new-*")
	if err != nil {
		return err
	}
	if _, err := temp.WriteString(text); err != nil {
		return err
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// behind runs work behind a disk.
func behind(t *testing.T, d *Disk) (string, error) {
	t.Helper()
	d.Folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(d.Folder, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+d.Folder)
	var said strings.Builder
	cmd.Stderr = &said
	if err := d.Start(cmd); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if own := d.Wait(); own != nil {
		t.Fatal(own)
	}
	return said.String(), err
}

func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}

// TestRecording: all calls are seen once, and applied in full they give the folder
// as it is.
func TestRecording(t *testing.T) {
	d := &Disk{Record: true}
	if said, err := behind(t, d); err != nil {
		t.Fatal(said, err)
	}
	r, err := d.Recording()
	if err != nil {
		t.Fatal(err)
	}
	count := map[Kind]int{}
	for _, c := range r.Calls {
		count[c.Kind]++
		if c.Path == "socket" && c.File != 0 {
			t.Errorf("a socket is taken for a file: %s", c)
		}
	}
	// 3 writes to data, 4 of notes that were read; a sync after each of them and after each rename, and one at first.
	if want := map[Kind]int{Write: 7, Sync: 12, Truncate: 1, Rename: 4, Link: 1, Remove: 2}; !maps.Equal(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
	cuts := 0
	var last map[string]string
	if err := r.Cuts(func(c Cut) error {
		cuts++
		for _, fate := range []Fate{Lost(), Applied(), Torn(rand.New(rand.NewPCG(1, uint64(cuts))))} {
			folder := t.TempDir()
			if err := c.Build(folder, fate); err != nil {
				return err
			}
			last = files(t, folder)
			if note, ok := last["note"]; last["old"] != "old" || ok && !slices.Contains([]string{"seen a", "seen b", "seen c"}, note) {
				t.Errorf("cut at %d: %.80q", c.Count, last)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := files(t, d.Folder); !maps.Equal(last, want) || len(last["data"]) != 8192 {
		t.Errorf("at the end %.80q, want %.80q", last, want)
	}
	if cuts != len(r.Calls)+1 {
		t.Errorf("%d cuts for %d calls", cuts, len(r.Calls))
	}
}

// TestLostAndTorn: what was not synced may be lost and torn, what was synced not.
func TestLostAndTorn(t *testing.T) {
	d := &Disk{Record: true}
	if said, err := behind(t, d); err != nil {
		t.Fatal(said, err)
	}
	r, err := d.Recording()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	second := strings.Repeat("b", 512)
	if err := r.Cuts(func(c Cut) error {
		for n := range 40 {
			folder := t.TempDir()
			if err := c.Build(folder, Torn(rand.New(rand.NewPCG(2, uint64(n))))); err != nil {
				return err
			}
			data := files(t, folder)["data"]
			if len(data) < 3072 {
				continue
			}
			seen[data[1024:2048]] = true
			if strings.Contains(data, "c") && data[:2048] != strings.Repeat("a", 1024)+second+second {
				t.Errorf("cut at %d: what was synced is torn", c.Count)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("\x00", 512)
	for _, want := range []string{zero + zero, second + zero, zero + second, second + second} {
		if !seen[want] {
			t.Errorf("no state has %.1q… and %.1q…", want, want[512:])
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		judge func(Call) Verdict
		says  string
		data  string
	}{
		{"nothing", func(Call) Verdict { return Verdict{} }, "", "abc"},
		{"no space", func(c Call) Verdict {
			if c.Kind == Write && c.Offset == 1024 {
				return Verdict{Errno: unix.ENOSPC}
			}
			return Verdict{}
		}, "no space left on device", "a\x00\x00"},
		{"no sync", func(c Call) Verdict {
			if c.Kind == Sync && c.Path == "data" {
				return Verdict{Errno: unix.EIO}
			}
			return Verdict{}
		}, "input/output error", "\x00\x00\x00"},
		{"no rename", func(c Call) Verdict {
			if c.Kind == Rename && c.To == "note" {
				return Verdict{Errno: unix.EIO}
			}
			return Verdict{}
		}, "input/output error", "a\x00\x00"},
		{"pretended", func(c Call) Verdict { return Verdict{Pretend: c.Kind == Write} }, "", "\x00\x00\x00"},
		{"nearly full", func(Call) Verdict { return Verdict{Free: 4096} }, "nearly full", "abc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &Disk{Judge: tc.judge}
			said, err := behind(t, d)
			if !strings.Contains(said, tc.says) || (err == nil) != (tc.says == "") {
				t.Errorf("%q, %v", said, err)
			}
			data := files(t, d.Folder)["data"]
			if got := string([]byte{data[0], data[1024], data[2048]}); got != tc.data {
				t.Errorf("%q, want %q", got, tc.data)
			}
		})
	}
}
