package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestLoginNotKept: after a login that could not be kept no session is open that nobody
// can use, whatever became of the file: it has the former session, the new one, or none.
func TestLoginNotKept(t *testing.T) {
	o := newOffice(t)
	root := &person{office: o, env: map[string]string{"CERTWRIGHT_DATA": o.data}}
	for name, test := range map[string]struct {
		change     func(a *app, file string, opened keptSession) error
		open, says string // open: whose session goes on
		kept       bool   // the file is there
	}{
		"the former's": {func(*app, string, keptSession) error { return nil }, "former", "The new session", true},
		"the new one's": {func(a *app, _ string, opened keptSession) error {
			_, err := a.keep(opened)
			return err
		}, "", "The session before", false},
		"gone":       {func(_ *app, file string, _ keptSession) error { return os.Remove(file) }, "", "The session before", false},
		"unreadable": {func(_ *app, file string, _ keptSession) error { return os.Chmod(file, 0o644) }, "former", "is still kept cannot be told: others may read the session", true},
	} {
		p, other := o.person(), o.person()
		p.login("root", "pki", "--no-browser")
		other.login("root", "pki", "--no-browser") // so its session is open, and in no file of p
		former, opened := p.kept(), other.kept()
		a, _, problems := testApp()
		a.getenv, a.server, a.ca, a.timeout = func(name string) string { return p.env[name] }, o.grpc, p.env["CERTWRIGHT_CA"], span(time.Minute)
		if err := test.change(a, p.sessionFiles()[0], opened); err != nil {
			t.Fatal(err)
		}
		a.notKept(t.Context(), &opened, &former, nil)
		if !strings.Contains(problems.String(), test.says) {
			t.Errorf("%s: %q", name, problems)
		}
		root.runs(0, "", "session", "list", "--filter", "state = ACTIVE", "-o", "json")
		for which, id := range map[string]string{"former": former.ID, "new": opened.ID} {
			if open := strings.Contains(root.out, id); open != (which == test.open) {
				t.Errorf("the file is %s: the %s session is open: %v\n%s", name, which, open, problems)
			}
		}
		if kept := len(p.sessionFiles()) == 1; kept != test.kept {
			t.Errorf("the file is %s: it is there: %v", name, kept)
		}
		root.runs(0, "", "session", "revoke", former.ID)
	}
	// A server that cannot be asked revokes nothing: what the file has can be logged out of.
	p := o.person()
	p.login("root", "pki", "--no-browser")
	opened := p.kept()
	a, _, problems := testApp()
	a.getenv, a.server, a.ca, a.timeout = func(name string) string { return p.env[name] }, o.grpc, p.env["CERTWRIGHT_CA"], span(time.Minute)
	o.stop()
	a.notKept(t.Context(), &opened, nil, nil)
	if !strings.Contains(problems.String(), "could not be revoked and goes on until ") || p.kept() != opened {
		t.Error(problems)
	}
}

// keeper is an app that keeps sessions with a server in a home.
func keeper(home string) *app {
	a, _, _ := testApp()
	a.getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	a.server = "ca.internal:8444"
	return a
}

// TestLoginsAtOnce: however many logins keep their sessions at once, each knows the one
// whose place it took, so that all but the last are ended.
func TestLoginsAtOnce(t *testing.T) {
	home, root := t.TempDir(), "sha256:"+strings.Repeat("0a", 32)
	if _, err := keeper(home).sessionPlace("ca.internal:8444"); err != nil {
		t.Fatal(err)
	}
	const logins = 16
	var all sync.WaitGroup
	var ended sync.Map
	for i := range logins {
		all.Go(func() {
			opened := keptSession{Server: "ca.internal:8444", Root: root, ID: fmt.Sprint("id", i), Token: "t", Expires: time.Now()}
			_, former, formerErr, err := keeper(home).replaceKept(opened)
			if err := errors.Join(formerErr, err); err != nil {
				t.Error(err)
			}
			if former != nil {
				if _, twice := ended.LoadOrStore(former.ID, true); twice {
					t.Errorf("%s was replaced twice", former.ID)
				}
			}
		})
	}
	all.Wait()
	last, err := keeper(home).keptSession()
	if err != nil || last == nil {
		t.Fatal(last, err)
	}
	for i := range logins {
		id := fmt.Sprint("id", i)
		if _, gone := ended.Load(id); gone == (id == last.ID) {
			t.Errorf("%s: replaced: %v; kept at last: %s", id, gone, last.ID)
		}
	}
}

// TestForgetsOnlyItsOwn: what is over is forgotten, and not what a login has kept in its
// place meanwhile; a folder that is away tells nothing.
func TestForgetsOnlyItsOwn(t *testing.T) {
	home, root := t.TempDir(), "sha256:"+strings.Repeat("0a", 32)
	a := keeper(home)
	over := keptSession{Server: "ca.internal:8444", Root: root, ID: "over", Token: "t", Expires: time.Now()}
	later := over
	later.ID = "later"
	path, err := a.keep(later)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := a.leftOf(&over, true); err != nil || left == nil || left.ID != "later" {
		t.Error(left, err)
	}
	if left, err := a.leftOf(&later, false); err != nil || left == nil {
		t.Error(left, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if left, err := a.leftOf(&later, true); err != nil || left == nil {
		t.Error(left, err)
	}
	if left, err := a.leftOf(&later, true); err != nil || left != nil {
		t.Error(left, err)
	}
	if err := os.Remove(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if left, err := a.leftOf(&over, true); left != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Error(left, err)
	}
}

// TestSessionIsOver: a session that is refused as the server is configured now is alive.
func TestSessionIsOver(t *testing.T) {
	for reason, want := range map[string]bool{
		"SESSION_INVALID": true, "SESSION_REVOKED": true, "SESSION_EXPIRED": true, "SESSION_NOT_FOUND": true,
		"SESSION_PROVIDER": false, "SESSION_DEVICE_CA": false, "ROLE_MISSING": false,
	} {
		st, err := status.New(codes.Unauthenticated, "no").WithDetails(&errdetails.ErrorInfo{Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		if got := sessionIsOver(fmt.Errorf("call: %w", st.Err())); got != want {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if sessionIsOver(status.Error(codes.Unavailable, "no")) || sessionIsOver(errors.New("no")) {
		t.Error("an error without a reason ends no session")
	}
}

// TestLoginCannotWrite: if nothing can be written any more when the session has been
// opened, the one before goes on, and it alone.
func TestLoginCannotWrite(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	p.login("root", "pki", "--no-browser")
	former := p.kept()
	dir := filepath.Dir(p.sessionFiles()[0])
	p.follows = func(url string) string {
		err := os.Chmod(dir, 0o500)
		if os.Geteuid() == 0 { // whom no mode stops: he follows no link of another user's to write
			err = errors.Join(os.Rename(dir, dir+".there"), os.Symlink(dir+".there", dir), os.Lchown(dir, 65534, 65534))
		}
		if err != nil {
			t.Error(err)
		}
		return url
	}
	p.runs(exitFailure, "cannot write into "+dir, "login", "--no-browser", "--provider-ca", filepath.Join(filepath.Dir(o.data), "idp.crt"))
	p.follows = nil
	if !strings.Contains(p.err, "The new session, ") || strings.Contains(p.err, "The session before") {
		t.Error(p.err)
	}
	p.runs(0, "ca-admin", "whoami")
	root := &person{office: o, env: map[string]string{"CERTWRIGHT_DATA": o.data}}
	root.runs(0, former.ID, "session", "list", "--filter", "state = ACTIVE", "-o", "json")
	if n := strings.Count(root.out, `"ACTIVE"`); n != 1 {
		t.Errorf("%d sessions are open", n)
	}
	_ = os.Chmod(dir, 0o700) // so that it can be removed
}
