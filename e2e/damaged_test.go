package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDamagedDatabase puts truncated, older, foreign and mixed files in the place of
// a stopped server's database: it does not start, verify does not pass, both say
// why in words, and neither dies of it.
func TestDamagedDatabase(t *testing.T) {
	s := newServer(t)
	s.start()
	s.must(t.TempDir(), "cert", "issue", "first.internal")
	s.stop()
	db := filepath.Join(s.data, "ledger.db")
	older := readAll(t, db)
	s.start()
	for n := range 20 {
		s.must(t.TempDir(), "cert", "issue", fmt.Sprintf("n%d.internal", n))
	}
	s.stop()
	whole := readAll(t, db)
	used := strings.TrimRight(whole, "\x00")
	other := newServer(t)
	other.start()
	other.must(t.TempDir(), "cert", "issue", "other.internal")
	other.stop()
	foreign := readAll(t, filepath.Join(other.data, "ledger.db"))
	const page = 4096
	mixed := []byte(whole)
	for at := 4 * page; at < min(len(used), len(older)); at += 3 * page {
		copy(mixed[at:at+page], older[at:at+page])
	}
	for _, tc := range []struct {
		name, content string
		starts        string // what the refusal to start says; "": it may start
	}{
		{"empty", "", "not a Certwright database"},
		{"text", strings.Repeat("no database ", 2000), "not a Certwright database"},
		{"100 octets", whole[:100], "not a Certwright database"},
		{"the roots alone", whole[:2*page], "database"},
		{"a third", whole[:len(used)/3], "cut off"},
		{"less the last page in use", whole[:(len(used)-1)/page*page], "cut off"},
		{"no roots", strings.Repeat("\x00", 2*page) + whole[2*page:], "not a Certwright database"},
		{"older", older, "older copy"},
		{"of another CA", foreign, "origin"},
		{"its pages older in part", string(mixed), ""},
		{"its pages shifted", whole[:4*page] + whole[5*page:], ""},
		{"its pages zero", whole[:4*page] + strings.Repeat("\x00", len(whole)-4*page), "database"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			check(t, writeFile(db, tc.content))
			r := s.run(t.TempDir(), "ledger", "verify")
			if r.code == 0 || r.stdout+r.stderr == "" {
				t.Errorf("verify: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			inWords(t, r.stdout+r.stderr)
			check(t, writeFile(db, tc.content))
			s.t = t
			s.launch(exec.Command(s.bin, s.serveArgs()...))
			err := s.ready(20 * time.Second)
			out := s.log.String()
			s.stop()
			inWords(t, out)
			if tc.starts != "" && (err == nil || !regexp.MustCompile(tc.starts).MatchString(out)) {
				t.Errorf("it started, or does not say %q (%v):\n%s", tc.starts, err, out)
			}
			t.Logf("verify: %s\nserve: %s", firstLine(r.stdout+r.stderr), firstLine(out))
		})
	}
	s.t = t
	check(t, writeFile(db, whole))
	s.start()
	s.must(t.TempDir(), "ledger", "verify", "--signatures")
	s.stop()
}

// inWords refuses what a program says that dies.
func inWords(t *testing.T, out string) {
	t.Helper()
	for _, bad := range []string{"goroutine ", "fatal error", "panic:", "SIGSEGV", "SIGBUS", "unexpected fault"} {
		if strings.Contains(out, bad) {
			t.Errorf("it says %q:\n%.1500s", bad, out)
			return
		}
	}
}
