package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server"
	"github.com/certwright/certwright/server/config"
)

// loginRoles are the roles of a provider's groups, whose URL takes the place of
// ISSUER, and of one certificate.
const loginRoles = `roles:
  - {role: ca-admin, principals: [{oidc: "ISSUER", claims: {groups: pki}}]}
  - {role: viewer, principals: [{oidc: "ISSUER", claims: {groups: staff}}]}
  - {role: auditor, principals: [{mtls: ops.internal, claims: {grant: local-admin}}]}

`

// office is a server at which people log in, and their provider.
type office struct {
	t        *testing.T
	provider *oidctest.Provider
	config   config.Config
	stop     func()
	grpc     string
	data     string
	log      *lockedBuffer
	ahead    atomic.Int64 // nanoseconds that the server's clock is ahead
}

// lockedBuffer is a buffer that a server and a test may use at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newOffice(t *testing.T) *office {
	t.Helper()
	dir, err := os.MkdirTemp("", "cw") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := &office{t: t, provider: oidctest.New(t), stop: func() {}, data: filepath.Join(dir, "data"), log: &lockedBuffer{}}
	if err := os.WriteFile(filepath.Join(dir, "idp.crt"), o.provider.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	settings, err := config.Load(config.Sources{Dev: true, Flags: map[string]string{
		"data": o.data, "listen.https": "127.0.0.1:0", "listen.grpc": "127.0.0.1:0", "listen.http": "127.0.0.1:0", "listen.metrics": "127.0.0.1:0",
	}, Environ: []string{fmt.Sprintf("CERTWRIGHT_OIDC_ISSUERS=[{url: %q, audiences: [certwright], login_client_id: %s, login_scopes: [groups], ca_file: %q}]",
		o.provider.URL, oidctest.Client, filepath.Join(dir, "idp.crt"))}})
	if err != nil {
		t.Fatal(err)
	}
	o.config = settings.Config
	t.Cleanup(func() { o.stop() })
	o.start()
	o.apply(loginRoles)
	return o
}

// start runs the server.
func (o *office) start() {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan server.Addresses, 1), make(chan error, 1)
	go func() {
		done <- server.Run(ctx, server.Options{
			Config: o.config, Version: "test", Logger: slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Now:   func() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) },
			Ready: func(addresses server.Addresses) { ready <- addresses },
		})
	}()
	select {
	case addresses := <-ready:
		o.grpc = addresses.GRPC
	case err := <-done:
		cancel()
		o.t.Fatal(err)
	}
	o.stop = func() {
		o.stop = func() {}
		cancel()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
	}
}

// apply adds roles to the shipped policy, over the socket.
func (o *office) apply(roles string) {
	o.t.Helper()
	const before = "\n# Conditions are rules"
	document := strings.Replace(string(policy.Default()), before, "\n"+strings.ReplaceAll(roles, "ISSUER", o.provider.URL)+before, 1)
	file := filepath.Join(o.t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		o.t.Fatal(err)
	}
	root := &person{office: o, env: map[string]string{"CERTWRIGHT_DATA": o.data}}
	root.runs(0, "", "policy", "apply", file, "--yes")
}

// person sits at a machine with a home of their own.
type person struct {
	*office
	env      map[string]string
	out, err string                  // of the last command
	follows  func(url string) string // what is opened for a URL that is shown; nil: that
}

func (o *office) person() *person {
	return &person{office: o, env: map[string]string{
		"HOME": o.t.TempDir(), "CERTWRIGHT_SERVER": o.grpc, "CERTWRIGHT_CA": filepath.Join(o.data, "root.crt"), "CERTWRIGHT_DATA": filepath.Join(o.data, "none"),
	}}
}

// runs runs the program and wants an exit code, and a text in what it says.
func (p *person) runs(code int, says string, args ...string) {
	p.t.Helper()
	out, stderr := &bytes.Buffer{}, &watched{seen: p.opens}
	a := &app{in: strings.NewReader(""), out: out, err: stderr, getenv: func(name string) string { return p.env[name] }}
	got := run(p.t.Context(), a, args)
	stderr.all.Wait()
	p.out, p.err = out.String(), stderr.String()
	if got != code || !strings.Contains(p.out+p.err, says) {
		p.t.Errorf("certwright %s: exit %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, says, p.out, p.err)
	}
	for _, token := range p.provider.Issued() {
		if strings.Contains(p.out+p.err, token[:60]) {
			p.t.Error("an ID token is shown")
		}
	}
	if strings.Contains(p.out+p.err, "cws_") {
		p.t.Error("a session token is shown")
	}
}

// watched is standard error, whose lines a person reads and acts upon.
type watched struct {
	lockedBuffer
	seen func(line string)
	all  sync.WaitGroup
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.lockedBuffer.Write(p)
	line := string(p) // p is the writer's again when this returns
	w.all.Go(func() { w.seen(line) })
	return n, err
}

var (
	pageShown = regexp.MustCompile(`^ +(https://\S+/authorize\?\S+)\n`)
	codeShown = regexp.MustCompile(`and type (\w+) there`)
)

// opens does what a line asks for.
func (p *person) opens(line string) {
	if m := codeShown.FindStringSubmatch(line); m != nil {
		p.provider.Answer(m[1])
	}
	m := pageShown.FindStringSubmatch(line)
	if m == nil {
		return
	}
	if p.follows != nil {
		m[1] = p.follows(m[1])
	}
	transport := &http.Transport{TLSClientConfig: p.provider.TLS()}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get(m[1])
	if err != nil {
		p.t.Error(err)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(body), "close this window") {
		p.t.Errorf("%d %s %v", answer.StatusCode, body, err)
	}
}

// login logs in as a member of a group.
func (p *person) login(subject, group string, flags ...string) {
	p.t.Helper()
	ca := filepath.Join(p.t.TempDir(), "idp.crt")
	if err := os.WriteFile(ca, p.provider.CertificatePEM(), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.provider.LogInAs(map[string]any{"sub": subject, "groups": []string{group}, "email": subject + "@x.example"})
	p.runs(0, "Logged in", append([]string{"login", "--provider-ca", ca}, flags...)...)
}

func (p *person) sessionFiles() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.env["HOME"], ".local/state/certwright/sessions/*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// kept is the session on the person's machine.
func (p *person) kept() keptSession {
	p.t.Helper()
	files := p.sessionFiles()
	if len(files) != 1 {
		p.t.Fatalf("%q", files)
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		p.t.Errorf("%v %v", info.Mode(), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		p.t.Fatal(err)
	}
	var kept keptSession
	if err := json.Unmarshal(data, &kept); err != nil {
		p.t.Fatal(err)
	}
	return kept
}

// TestLoginJourney: people log in by browser and device, do what their roles say, and
// are out at once when a session or role is taken away.
func TestLoginJourney(t *testing.T) {
	o := newOffice(t)
	admin, eve := o.person(), o.person()
	admin.runs(exitAuth, "certwright login --server HOST:PORT", "whoami")
	admin.login("root", "pki", "--no-browser")
	admin.runs(0, "ca-admin", "whoami")
	if !strings.Contains(admin.out, "root@x.example") || !strings.Contains(admin.out, admin.kept().ID) {
		t.Error(admin.out)
	}
	admin.runs(0, "", "cert", "list")
	admin.runs(0, "groups=staff", "role", "list")
	admin.runs(0, "requester, ca-admin", "policy", "simulate", "--issuer", o.provider.URL, "--claim", "groups=pki")

	admin.runs(exitNotFound, `no identity provider "https://idp.other" is configured here; allowed: `+o.provider.URL+"; ", "policy", "simulate", "--issuer", "https://idp.other", "--claim", "groups=pki")

	o.provider.Interval(1)
	eve.login("eve", "staff", "--device", "--lifetime", "2m", "-o", "json")
	eve.runs(0, "viewer", "whoami", "-o", "json")
	eve.runs(exitAuth, "the role", "ledger", "list")
	eve.runs(exitNotFound, "there is no session", "session", "revoke", admin.kept().ID)
	eve.runs(0, "current", "session", "list")
	if strings.Contains(eve.out, admin.kept().ID) {
		t.Error("another's session is listed")
	}
	// Revoked by an admin: refused at once.
	admin.runs(0, "eve@x.example", "session", "list")
	admin.runs(0, "revoked", "session", "revoke", eve.kept().ID)
	eve.runs(exitAuth, "the session was revoked; log in again: certwright login", "whoami")
	eve.login("eve", "staff", "--no-browser")

	// A role that is taken away in the policy is gone at once.
	o.apply(strings.Replace(loginRoles, "groups: staff", "groups: nobody", 1))
	eve.runs(exitAuth, "the role", "cert", "list")
	eve.runs(0, "requester", "whoami")
	eve.runs(0, "Logged out", "logout")
	if len(eve.sessionFiles()) != 0 {
		t.Error("the session is still kept")
	}
	eve.runs(0, "There is no session", "logout")
	o.provider.LogInAs(map[string]any{"sub": "eve", "groups": []string{"staff"}})
	eve.runs(exitAuth, "gives you no role", "login", "--provider-ca", filepath.Join(filepath.Dir(o.data), "idp.crt"), "--no-browser")

	// What is kept ends when the server says so.
	o.ahead.Store(int64(61 * time.Minute))
	admin.runs(exitAuth, "the session has expired; log in again: certwright login", "whoami")
	admin.runs(0, "Logged out", "logout") // it is over at the server
	o.noSecrets()
}

// noSecrets looks for tokens where none may be.
func (o *office) noSecrets() {
	o.t.Helper()
	root := &person{office: o, env: map[string]string{"CERTWRIGHT_DATA": o.data}}
	root.runs(0, "", "ledger", "verify")
	root.runs(0, "session.opened", "ledger", "list", "-o", "json")
	database, err := os.ReadFile(filepath.Join(o.data, "ledger.db"))
	if err != nil {
		o.t.Fatal(err)
	}
	tokens := o.provider.Issued()
	if len(tokens) < 4 {
		o.t.Fatalf("%d tokens were issued", len(tokens))
	}
	for _, place := range []string{o.log.String(), string(database), root.out} {
		for _, token := range append(tokens, "cws_") {
			if strings.Contains(place, token[:min(len(token), 60)]) {
				o.t.Error("a token stands where none may be")
			}
		}
	}
	if !strings.Contains(o.log.String(), "session opened") {
		o.t.Error("the log does not tell of sessions")
	}
}

// TestSessionsEndWithARecovery: who goes on from an older database has none of the
// sessions in it, one of which may have been revoked since.
func TestSessionsEndWithARecovery(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	p.login("root", "pki", "--no-browser")
	database := filepath.Join(o.data, "ledger.db")
	o.stop()
	older, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	restart := func() {
		kept := p.kept()
		o.start()
		p.env["CERTWRIGHT_SERVER"], kept.Server = o.grpc, o.grpc // on another port
		a, _, _ := testApp()
		a.getenv = func(name string) string { return p.env[name] }
		for _, file := range p.sessionFiles() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.keep(kept); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	p.runs(0, "ca-admin", "whoami")
	other := o.person()
	other.login("eve", "staff", "--no-browser")
	o.stop()
	if err := os.WriteFile(database, older, 0o600); err != nil {
		t.Fatal(err)
	}
	root := &person{office: o, env: map[string]string{}}
	root.runs(0, "", "ledger", "recover", "--yes", "--data", o.data)
	restart()
	p.runs(exitAuth, "the session token is not valid, or its session has ended; log in again: certwright login", "whoami")
	root.runs(0, "", "ledger", "verify", "--data", o.data)
}

// TestLoginByCertificateJourney: a certificate opens sessions, which end with it.
func TestLoginByCertificateJourney(t *testing.T) {
	o := newOffice(t)
	root := &person{office: o, env: map[string]string{"CERTWRIGHT_DATA": o.data}}
	dir := t.TempDir()
	for _, name := range []string{"ops.internal", "dev.internal"} {
		root.runs(0, "", "cert", "issue", name, "--profile", "mtls", "--out", dir)
	}
	pair := func(name string) []string {
		return []string{"login", "--cert", filepath.Join(dir, name+".crt"), "--key", filepath.Join(dir, name+".key")}
	}
	root.runs(0, "ca-admin", "whoami")
	p := o.person()
	p.runs(0, "auditor", pair("ops.internal")...)
	if !strings.Contains(p.out, "ops.internal (serial ") {
		t.Error(p.out)
	}
	p.runs(0, "ops.internal (serial ", "whoami")
	root.runs(0, "ops.internal (serial ", "session", "list")
	p.runs(0, "auditor", "whoami")
	p.runs(0, "session.opened", "ledger", "list", "-o", "json")
	p.runs(exitDenied, "no grant is for", "cert", "issue", "x.internal", "--out", dir)
	o.person().runs(exitAuth, "the policy gives this certificate no role (mtls:", pair("dev.internal")...)
	// A session that cannot be kept is nobody's: none stays open.
	lost := o.person()
	lost.env["XDG_STATE_HOME"] = filepath.Join(dir, "ops.internal.crt") // no folder
	lost.runs(exitFailure, "not a directory", pair("ops.internal")...)
	root.runs(0, "", "session", "list", "--filter", "state = ACTIVE", "-o", "json")
	if n := strings.Count(root.out, `"ACTIVE"`); n != 1 {
		t.Errorf("%d sessions are open:\n%s", n, root.out)
	}
	o.person().runs(exitUsage, "dev.internal.key is not the key of the certificate ", "login", "--cert", filepath.Join(dir, "ops.internal.crt"), "--key", filepath.Join(dir, "dev.internal.key"))
	o.person().runs(exitAuth, "see certwright role list", pair("dev.internal")...)
	root.runs(0, "", "cert", "revoke", filepath.Join(dir, "ops.internal.crt"), "--yes")
	p.runs(exitAuth, "the client certificate is revoked", "whoami")
	p.runs(exitUnavailable, "does not take this certificate", pair("ops.internal")...)
}

func TestLoginUsage(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	for says, args := range map[string][]string{
		"--cert x needs its private key too":                      {"login", "--cert", "x"},
		"is a proof by itself":                                    {"login", "--cert", "x", "--key", "y", "--device"},
		"is not one of " + o.provider.URL:                         {"login", "--provider", "https://other.example"},
		"needs --server":                                          {"login", "--server", "unix:x"},
		"--claim needs to know of whom":                           {"policy", "simulate", "--claim", "a=b"},
		"both say who would ask":                                  {"policy", "simulate", "--issuer", "https://x", "--as", "token:0"},
		"write NAME=VALUE":                                        {"policy", "simulate", "--issuer", "https://x", "--claim", "a"},
		"that is a session's token":                               {"session", "revoke", "cws" + "_x"},
		"certwright logout needs --server":                        {"logout", "--server", "unix:x"},
		"--provider-ca: " + os.DevNull + " is not a regular file": {"login", "--provider-ca", os.DevNull},
	} {
		p.runs(exitUsage, says, args...)
	}
	p.runs(exitNotFound, "x: no such file", "login", "--cert", "x", "--key", "y")
	token := filepath.Join(t.TempDir(), "t")
	p.runs(exitUsage, "login takes no token", "login", "--token-file", token)
	p.env["HOME"] = ""
	p.runs(exitUsage, "set HOME or XDG_STATE_HOME", "login")
}
