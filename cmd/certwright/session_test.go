package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/client"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// TestSessionStaysUnderItsRoot: a token goes to the server that it came from, which its
// root tells, and to no other at the same address.
func TestSessionStaysUnderItsRoot(t *testing.T) {
	first, second := newOffice(t), newOffice(t)
	p := first.person()
	p.login("root", "pki", "--no-browser")
	kept := p.kept()

	// The other server takes the address, and its root is trusted.
	root := func(o *office) []byte {
		text, err := os.ReadFile(filepath.Join(o.data, "root.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	both := filepath.Join(t.TempDir(), "both.crt")
	if err := os.WriteFile(both, append(root(first), root(second)...), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := client.ParseRoots(root(second))
	if err != nil {
		t.Fatal(err)
	}
	a, _, _ := testApp()
	a.getenv = func(name string) string { return p.env[name] }
	kept.Server = second.grpc
	if _, err := a.keep(kept); err != nil {
		t.Fatal(err)
	}
	p.env["CERTWRIGHT_SERVER"] = second.grpc
	for _, trust := range [][]string{{"--ca", both}, {"--ca", filepath.Join(second.data, "root.crt")}, {"--ca", "", "--fingerprint", client.Fingerprint(roots[0])}} {
		if trust[1] == "" {
			trust = trust[2:]
			delete(p.env, "CERTWRIGHT_CA")
		}
		for _, command := range [][]string{{"whoami"}, {"logout"}, {"ledger", "verify"}} {
			p.runs(exitConflict, "was opened under the root "+kept.Root+", and the server is under "+client.Fingerprint(roots[0]), append(command, trust...)...)
		}
	}
	if strings.Contains(second.log.String(), "the session token is not valid") {
		t.Error("the other server was shown the token")
	}
	p.env["CERTWRIGHT_SERVER"], p.env["CERTWRIGHT_CA"] = first.grpc, both
	p.runs(0, "ca-admin", "whoami")
}

// TestLoginAgain: the session of the login before is revoked, as nobody could log out of
// it any more; what hinders that hinders no login.
func TestLoginAgain(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	p.login("root", "pki", "--no-browser")
	former := p.kept()
	p.login("root", "pki", "--no-browser")
	if !strings.Contains(p.err, "The session before, "+former.ID+", is revoked.") {
		t.Error(p.err)
	}
	p.runs(0, former.ID, "session", "list", "--filter", "state = REVOKED")
	p.runs(0, "Logged out", "logout")
	p.runs(0, "", "session", "revoke", former.ID, "--server", "unix:"+filepath.Join(o.data, "admin.sock"))

	p.login("root", "pki", "--no-browser")
	if err := os.Chmod(p.sessionFiles()[0], 0o644); err != nil {
		t.Fatal(err)
	}
	p.login("root", "pki", "--no-browser")
	if !strings.Contains(p.err, "is not known any more: others may read the session") {
		t.Error(p.err)
	}
	p.runs(0, "ca-admin", "whoami")
}

// TestSessionOfAnotherSpelling: a session is used under the name that it was opened with,
// and who says another is told.
func TestSessionOfAnotherSpelling(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	name := "localhost:" + portOf(o.grpc)
	p.login("root", "pki", "--no-browser", "--server", name)
	p.runs(0, "ca-admin", "whoami", "--server", strings.ToUpper(name))
	help := "a session is kept for " + name + ": use --server " + name + ", or certwright login"
	p.runs(exitAuth, help, "whoami")
	p.runs(0, "A session is kept for "+name, "logout")
	p.runs(0, "Logged out", "logout", "--server", name)
	p.runs(exitAuth, "people log in with certwright login", "whoami")
}

// TestDataFolderSpeaksForThisMachine: the root in the data folder, which is that of the
// folder one is in, is believed of no server elsewhere.
func TestDataFolderSpeaksForThisMachine(t *testing.T) {
	a, _, _ := testApp()
	a.data = t.TempDir()
	root := filepath.Join(a.data, "root.crt")
	for server, want := range map[string]string{
		"localhost": root, "LOCALHOST:1": root, "127.0.0.1:8444": root, "127.9.9.9": root, "[::1]:8444": root, "https://localhost:8444": root,
		"ca.internal": "", "localhost.evil.example": "", "10.0.0.1": "", "[::2]": "", "https://ca.internal:8444": "", "0.0.0.0": "", "http://localhost": "",
	} {
		if err := os.WriteFile(root, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := a.rootFor(server); got != want {
			t.Errorf("%s: %q, want %q", server, got, want)
		}
		if err := os.Remove(root); err != nil {
			t.Fatal(err)
		}
		if got := a.rootFor(server); got != "" {
			t.Errorf("%s, without a root: %q", server, got)
		}
	}
	// One that somebody else has put there, or could, only if the folder is named.
	if err := os.WriteFile(root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"a file of all":   func() error { return os.Chmod(root, 0o666) },
		"a folder of all": func() error { return os.Chmod(a.data, 0o777) },
		"another's file":  func() error { return os.Chown(root, 65534, -1) },
		"a group's file":  func() error { return errors.Join(os.Chown(root, -1, 65534), os.Chmod(root, 0o660)) },
	} {
		if err := change(); errors.Is(err, fs.ErrPermission) {
			continue // only root can give files away
		} else if err != nil {
			t.Fatal(err)
		}
		if got := a.rootFor("localhost"); got != "" {
			t.Errorf("%s: %q", name, got)
		}
		a.dataNamed = true
		if got := a.rootFor("localhost"); got != root {
			t.Errorf("%s, named: %q", name, got)
		}
		a.dataNamed = false
		if err := errors.Join(os.Chmod(root, 0o600), os.Chmod(a.data, 0o700), os.Chown(root, os.Geteuid(), os.Getegid())); err != nil {
			t.Fatal(err)
		}
		if got := a.rootFor("localhost"); got != root {
			t.Errorf("%s, no more: %q", name, got)
		}
	}
	a.ca = "ca.pem"
	if got := a.rootFor("ca.internal"); got != a.ca {
		t.Error(got)
	}
}

// TestLinkToDataFolder: a link that somebody else has put where one happens to be says
// nothing, even if it leads to a folder or file of one's own.
func TestLinkToDataFolder(t *testing.T) {
	a, _, _ := testApp()
	own, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "root.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder, inside := filepath.Join(dir, "folder"), filepath.Join(dir, "inside")
	if err := errors.Join(os.Symlink(own, folder), os.Mkdir(inside, 0o700), os.Symlink(filepath.Join(own, "root.crt"), filepath.Join(inside, "root.crt"))); err != nil {
		t.Fatal(err)
	}
	for data, link := range map[string]string{folder: folder, inside: filepath.Join(inside, "root.crt")} {
		a.data, a.dataNamed = data, false
		root := filepath.Join(data, "root.crt")
		if got := a.rootFor("localhost"); got != root {
			t.Errorf("one's own link %s: %q", link, got)
		}
		if os.Geteuid() != 0 {
			continue // only root can give links away
		}
		if err := os.Lchown(link, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if got := a.rootFor("localhost"); got != "" {
			t.Errorf("another's link %s: %q", link, got)
		}
		a.dataNamed = true
		if got := a.rootFor("localhost"); got != root {
			t.Errorf("another's link %s, named: %q", link, got)
		}
	}
}

// TestKeptSessions: a file that others can read, or that is damaged, is not used.
func TestKeptSessions(t *testing.T) {
	a, _, _ := testApp()
	home := t.TempDir()
	a.getenv = func(name string) string { return map[string]string{"XDG_STATE_HOME": "relative", "HOME": home}[name] }
	a.server = "CA.internal"
	kept, err := a.keptSession()
	if kept != nil || err != nil {
		t.Fatal(kept, err)
	}
	server, err := a.sessionServer()
	if err != nil || server != "ca.internal:8444" {
		t.Fatal(server, err)
	}
	root := "sha256:" + strings.Repeat("0a", 32)
	path, err := a.keep(keptSession{Server: server, Root: root, ID: "i", Token: "t", Expires: time.Now()})
	if err != nil || !strings.HasPrefix(path, filepath.Join(home, ".local", "state")) {
		t.Fatal(path, err)
	}
	if kept, err = a.keptSession(); err != nil || kept.Token != "t" {
		t.Fatal(kept, err)
	}
	other, _, _ := testApp()
	other.getenv, other.server = a.getenv, "ca.internal:9444"
	if kept, err := other.keptSession(); kept != nil || err != nil {
		t.Error("a session goes to another server")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := a.keptSession(); err == nil || !strings.Contains(err.Error(), "counts as stolen") {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		for _, mode := range []os.FileMode{0o770, 0o707} {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := a.keptSession(); err == nil || !strings.Contains(err.Error(), "others may change the folder "+dir) {
				t.Errorf("%s %o: %v", dir, mode, err)
			}
			if _, err := a.keep(keptSession{Server: server}); err == nil {
				t.Errorf("a session is put into %s of mode %o", dir, mode)
			}
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root can give files away
		if err := os.Chown(path, 65534, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := a.keptSession(); err == nil || !strings.Contains(err.Error(), "another user's file") {
			t.Error(err)
		}
		if err := os.Chown(path, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "{}", `{"server":"ca.internal:8444","id":"i","token":"t","expires":"2027-01-01T00:00:00Z"}`, `{"server":"ca.internal:8444","root":"` + root + `","id":"i","token":"a b","expires":"2027-01-01T00:00:00Z"}`, `{"server":"evil:1","root":"` + root + `","id":"i","token":"t","expires":"2027-01-01T00:00:00Z"}`, strings.Repeat(" ", maxSessionFile+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.keptSession(); err == nil || !strings.Contains(err.Error(), "run certwright login") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.keptSession(); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Error(err)
	}
	a.getenv = func(string) string { return "" }
	if kept, err := a.keptSession(); kept != nil || err != nil {
		t.Error(kept, err)
	}
}

// FuzzKept: a session's file.
func FuzzKept(f *testing.F) {
	for _, seed := range []string{`{"server":"s","root":"sha256:` + strings.Repeat("00", 32) + `","id":"i","token":"t","expires":"2027-01-01T00:00:00Z"}`, `{}`, `null`, `[]`, `{"token":"a\nb"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kept, err := parseKept(data)
		if err == nil && (kept.Token == "" || strings.ContainsAny(kept.Token, " \n\r\x00")) {
			t.Errorf("%+v", kept)
		}
	})
}

// TestTokenAndSocketsOfOthers: who listens on a socket that somebody else has put into the
// folder one is in gets no token, unless it is named.
func TestTokenAndSocketsOfOthers(t *testing.T) {
	dir, err := os.MkdirTemp("", "cw") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Chdir(dir)
	if err := os.Mkdir("certwright-data", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod("certwright-data", 0o777)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join("certwright-data", "admin.sock")
	// ask makes a call with a token, and answers what the listener got.
	ask := func(uid int, named bool) (string, error) {
		got := make(chan string, 1)
		listener := listenAs(t, socket, uid)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				got <- ""
				return
			}
			text := make([]byte, 1<<10)
			n, _ := conn.Read(text)
			_ = conn.Close()
			got <- string(text[:n])
		}()
		a, _, _ := testApp()
		a.data, a.dataNamed = "certwright-data", named
		conn, err := a.dialWith(t.Context(), credentials{token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = pb.NewSessionServiceClient(conn).GetSelf(ctx, &pb.GetSelfRequest{})
		text := <-got
		return text, errors.Join(a.reached(err), conn.Close(), listener.Close())
	}
	const others = "another user listens on the socket"
	if text, err := ask(os.Geteuid(), false); text == "" || strings.Contains(fmt.Sprint(err), others) {
		t.Errorf("one's own: %q %v", text, err)
	}
	if os.Geteuid() != 0 { // only root can be two users
		return
	}
	if text, err := ask(65534, false); text != "" || !strings.Contains(err.Error(), others) {
		t.Errorf("%q %v", text, err)
	}
	if text, err := ask(65534, true); text == "" || strings.Contains(fmt.Sprint(err), others) {
		t.Errorf("named: %q %v", text, err)
	}
}

// listenAs listens on a socket as a user.
func listenAs(t *testing.T, path string, uid int) net.Listener {
	t.Helper()
	type outcome struct {
		listener net.Listener
		err      error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine: it is that user's
		if uid != os.Geteuid() {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				done <- outcome{nil, errno}
				return
			}
		}
		listener, err := net.Listen("unix", path)
		done <- outcome{listener, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.listener
}
