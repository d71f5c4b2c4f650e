package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/merkle/cosign"
	"github.com/certwright/certwright/merkle/entry"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// invoke runs a command line and returns exit code, standard output and error.
func invoke(t *testing.T, args ...string) (code int, out, problems string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), &app{out: &stdout, err: &stderr}, args)
	return code, stdout.String(), stderr.String()
}

// world is a published ledger and the key to it.
type world struct {
	*testing.T
	signer note.Signer
	tree   string // folder
	key    string // file
	all    [][]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "ca.example/ledger")
	check(t, err)
	w := &world{T: t, tree: t.TempDir(), key: filepath.Join(t.TempDir(), "ledger.vkey")}
	w.signer, err = note.NewSigner(skey)
	check(t, err)
	check(t, os.WriteFile(w.key, []byte("# the ledger\n"+vkey+"\n"), 0o600))
	for i, body := range []entry.Body{entry.Origin{Origin: w.signer.Name()}, entry.Action{Action: "one"}, entry.Action{Action: "two"}, entry.Action{Action: "three"}} {
		raw, err := audittest.Entry(body, "system:server", time.UnixMilli(int64(i)))
		check(t, err)
		w.all = append(w.all, raw)
	}
	w.show(w.tree, w.all)
	return w
}

func (w *world) show(dir string, entries [][]byte) {
	w.Helper()
	_, err := audittest.Publish(dir, w.signer, entries)
	check(w.T, err)
}

// TestFollowCommand goes from the first look to a rewritten history, over https with a
// token.
func TestFollowCommand(t *testing.T) {
	w := newWorld(t)
	files := http.StripPrefix("/ledger", http.FileServer(http.Dir(w.tree)))
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer cwt_secret" {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(out, r)
	}))
	defer server.Close()
	dir := t.TempDir()
	ca, token, state := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token"), filepath.Join(dir, "state")
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	check(t, os.WriteFile(ca, leaf, 0o600))
	check(t, os.WriteFile(token, []byte("cwt_secret\n"), 0o600))
	follow := []string{"follow", server.URL + "/ledger", "--key", w.key, "--ca", ca, "--state", state, "--once", "--grace", "0s"}

	code, _, problems := invoke(t, follow...)
	if code != exitAuth || !strings.Contains(problems, "token") {
		t.Errorf("without a token: %d %q", code, problems)
	}
	follow = append(follow, "--token-file", token)
	code, out, problems := invoke(t, follow...)
	if code != exitOK || !strings.HasPrefix(out, "ok: ca.example/ledger, 4 entries, root ") || problems != "" {
		t.Errorf("the first look: %d %q %q", code, out, problems)
	}
	address := strings.TrimPrefix(server.URL, "https://")
	code, out, _ = invoke(t, append(follow, "--scan", address)...)
	if code != exitFound || !strings.HasPrefix(out, "unlogged "+address+": ") {
		t.Errorf("a server's certificate that is in no book: %d %q", code, out)
	}
	code, out, problems = invoke(t, append(follow, "--scan", address, "--issuer", ca)...)
	if code != exitFound && code != exitOK || strings.Contains(problems, "secret") {
		t.Errorf("its issuer alone: %d %q %q", code, out, problems)
	}
	code, _, problems = invoke(t, append(follow, "--scan", "127.0.0.1:1")...)
	if code != exitUnavailable || !strings.Contains(problems, "1 of 1 addresses") {
		t.Errorf("nobody at the address: %d %q", code, problems)
	}

	bad := filepath.Join(dir, "bad.crt")
	check(t, os.WriteFile(bad, []byte("garbage"), 0o600))
	for _, shown := range []string{bad, dir} {
		code, out, _ = invoke(t, append(follow, "--certs", shown, "--issuer", ca)...)
		if code != exitFound || !strings.HasPrefix(out, "unreadable "+bad+": ") {
			t.Errorf("--certs %s: %d %q", shown, code, out)
		}
	}
	w.show(w.tree, audittest.Replace(w.all, 2, w.all[3]))
	code, out, problems = invoke(t, append(follow, "-o", "json")...)
	var result look
	check(t, json.Unmarshal([]byte(out), &result))
	if code != exitFound || result.Entries != 4 || len(result.Findings) != 2 || result.Findings[0].Kind != "fork" || result.Findings[1].Kind != "entry-replaced" || *result.Findings[1].Index != 2 {
		t.Errorf("a rewritten history: %d %s", code, out)
	}
	if !strings.Contains(problems, "it is the evidence") {
		t.Errorf("it does not say what to do: %q", problems)
	}
	server.Close()
	if code, _, _ := invoke(t, append(follow, "--timeout", "1s")...); code != exitUnavailable {
		t.Errorf("the server is gone: %d", code)
	}
}

// TestFollowLoop ends when it is told to, with what it has found.
func TestFollowLoop(t *testing.T) {
	w := newWorld(t)
	state := filepath.Join(t.TempDir(), "state")
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, &app{out: write, err: io.Discard}, []string{"follow", w.tree, "--key", w.key, "--state", state, "--interval", "1h"})
		write.Close()
	}()
	line := make([]byte, 256)
	n, err := read.Read(line)
	check(t, err)
	if !strings.HasPrefix(string(line[:n]), "ok: ") {
		t.Errorf("the first look: %q", line[:n])
	}
	if code, _, problems := invoke(t, "follow", w.tree, "--key", w.key, "--state", state, "--once"); code != exitUnavailable || !strings.Contains(problems, "another certwright-audit") || strings.Contains(problems, "cannot be read") {
		t.Errorf("a second one in the same folder: %d %q", code, problems)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, read) }()
	if code := <-done; code != exitOK {
		t.Errorf("it ended with %d", code)
	}
}

func TestCompareCommand(t *testing.T) {
	w := newWorld(t)
	other := t.TempDir()
	w.show(other, w.all[:3])
	if code, out, _ := invoke(t, "compare", w.tree, other, "--key", w.key); code != exitOK || !strings.HasPrefix(out, "ok: ") {
		t.Errorf("one is behind: %d %q", code, out)
	}
	w.show(other, audittest.Replace(w.all, 1, w.all[3]))
	code, out, problems := invoke(t, "compare", w.tree, other, "--key", w.key)
	if code != exitFound || !strings.HasPrefix(out, "split ") || !strings.Contains(out, "\nsplit entry 1 ") || !strings.Contains(problems, "different ledgers") {
		t.Errorf("two servers show different trees: %d %q %q", code, out, problems)
	}
}

// TestWitnessCommand makes a key, witnesses, and keeps its memory over a restart.
func TestWitnessCommand(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "witness.key")
	code, vkey, problems := invoke(t, "keygen", "witness.example/w1", "--out", key)
	if code != exitOK || strings.Contains(problems+vkey, "PRIVATE") {
		t.Fatalf("keygen: %d %q %q", code, vkey, problems)
	}
	info, err := os.Stat(key)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %s", info.Mode())
	}
	if code, _, problems := invoke(t, "keygen", "witness.example/w1", "--out", key); code != 6 || !strings.Contains(problems, "is there already") {
		t.Errorf("a second key: %d %q", code, problems)
	}
	verifier, err := cosign.NewVerifier(strings.TrimSpace(vkey))
	check(t, err)
	signed, err := os.ReadFile(filepath.Join(w.tree, "checkpoint"))
	check(t, err)
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		read, write := io.Pipe()
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, &app{out: write, err: io.Discard}, []string{"witness", "--listen", "127.0.0.1:0", "--key", key, "--log", w.key, "--state", filepath.Join(dir, "state")})
		}()
		line := make([]byte, 512)
		n, err := read.Read(line)
		check(t, err)
		said := string(line[:n])
		if !strings.Contains(said, strings.TrimSpace(vkey)) {
			t.Errorf("it does not say its key: %q", said)
		}
		_, rest, _ := strings.Cut(said, "listens on ")
		address, _, _ := strings.Cut(rest, ";")
		res, err := http.Post("http://"+address+cosign.Path, "text/plain", bytes.NewReader(cosign.Request{Old: uint64(4 * round), Checkpoint: signed}.Marshal()))
		check(t, err)
		body, err := io.ReadAll(res.Body)
		check(t, err)
		res.Body.Close()
		if _, err := cosign.ParseAnswer(signed, body, verifier); err != nil {
			t.Errorf("round %d: %d %q: %v", round, res.StatusCode, body, err)
		}
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("it ended with %d", code)
		}
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"unknown command": {[]string{"nope"}, exitUsage}, "no source": {[]string{"follow"}, exitUsage}, "one source": {[]string{"compare", dir, "--key", w.key}, exitUsage},
		"no key": {[]string{"follow", dir}, exitUsage}, "a cut key": {[]string{"follow", dir, "--key", "a+b+c"}, exitUsage}, "no key file": {[]string{"follow", dir, "--key", "nope"}, exitUsage},
		"no folder": {[]string{"follow", filepath.Join(dir, "nope"), "--key", w.key, "--state", dir}, exitNotFound}, "a flag": {[]string{"follow", dir, "--nope"}, exitUsage},
		"output": {[]string{"follow", dir, "--key", w.key, "-o", "xml"}, exitUsage}, "credentials": {[]string{"follow", "https://a:b@ca.example", "--key", w.key}, exitUsage},
		"no port": {[]string{"follow", w.tree, "--key", w.key, "--scan", "ca.example"}, exitUsage}, "more than there are": {[]string{"follow", w.tree, "--key", w.key, "--need", "1"}, exitUsage},
		"too often": {[]string{"follow", w.tree, "--key", w.key, "--interval", "1ms"}, exitUsage}, "an empty folder": {[]string{"follow", dir, "--key", w.key, "--state", t.TempDir(), "--once"}, exitNotFound},
		"witness": {[]string{"witness"}, exitUsage}, "no port to listen on": {[]string{"witness", "--key", w.key, "--log", w.key, "--listen", "x"}, exitUsage}, "half of TLS": {[]string{"witness", "--key", w.key, "--log", w.key, "--tls-cert", "x"}, exitUsage},
		"not a private key": {[]string{"witness", "--key", w.key, "--log", w.key}, exitUsage}, "a name": {[]string{"keygen", "a b", "--out", filepath.Join(dir, "k")}, exitUsage},
		"help": {nil, exitOK}, "version": {[]string{"--version"}, exitOK},
	} {
		code, _, problems := invoke(t, test.args...)
		if code != test.code || code != 0 && strings.Count(problems, "\n") != 1 {
			t.Errorf("%s: %d %q", name, code, problems)
		}
	}
}

// TestNotRegular: what is no file is refused at once, by whatever name it is given; a
// pipe that nobody writes to would hold an auditor up for ever.
func TestNotRegular(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	pipe, key, ledger := filepath.Join(dir, "pipe"), filepath.Join(dir, "key"), filepath.Join(dir, "ledger")
	check(t, syscall.Mkfifo(pipe, 0o600))
	check(t, os.Mkdir(ledger, 0o700))
	if code, _, problems := invoke(t, "keygen", "witness.example/w1", "--out", key); code != exitOK {
		t.Fatal(problems)
	}
	state := filepath.Join(dir, "state")
	follow := func(more ...string) []string {
		return append([]string{"follow", w.tree, "--key", w.key, "--state", state, "--once", "--grace", "0s"}, more...)
	}
	link := filepath.Join(ledger, "checkpoint")
	for _, no := range []string{"/dev/null", pipe} { // the device first: read, it is only empty
		check(t, errors.Join(os.RemoveAll(link), os.Symlink(no, link)))
		for name, test := range map[string]struct {
			args []string
			code int
		}{
			"key":       {[]string{"follow", w.tree, "--key", no, "--state", state, "--once"}, exitUsage},
			"ca":        {[]string{"follow", "https://127.0.0.1:1", "--key", w.key, "--once", "--ca", no}, exitUsage},
			"token":     {[]string{"follow", "https://127.0.0.1:1", "--key", w.key, "--once", "--token-file", no}, exitUsage},
			"issuer":    {follow("--issuer", no), exitUsage},
			"scan list": {follow("--scan-list", no), exitUsage},
			"witness":   {follow("--witness", no, "--need", "1"), exitUsage},
			"certs":     {follow("--certs", no), exitFound},
			"source":    {[]string{"follow", ledger, "--key", w.key, "--state", filepath.Join(dir, "other"), "--once"}, exitFailure},
			"another":   {[]string{"compare", w.tree, ledger, "--key", w.key}, exitFailure},
			"private":   {[]string{"witness", "--listen", "127.0.0.1:0", "--key", no, "--log", w.key, "--state", state}, exitUsage},
			"log":       {[]string{"witness", "--listen", "127.0.0.1:0", "--key", key, "--log", no, "--state", state}, exitUsage},
			"TLS":       {[]string{"witness", "--listen", "127.0.0.1:0", "--key", key, "--log", w.key, "--state", state, "--tls-cert", no, "--tls-key", key}, exitUsage},
			"TLS's key": {[]string{"witness", "--listen", "127.0.0.1:0", "--key", key, "--log", w.key, "--state", state, "--tls-cert", w.key, "--tls-key", no}, exitUsage},
		} {
			code, out, problems := invoke(t, test.args...)
			if code != test.code || !strings.Contains(out+problems, " is not a regular file") {
				t.Errorf("%s, %s: %d %q %q", name, no, code, out, problems)
			}
		}
		if t.Failed() {
			return // the pipe would hold the test up
		}
	}
}

// TestLongFile: of a file no more is read than it may have.
func TestLongFile(t *testing.T) {
	w := newWorld(t)
	long := filepath.Join(t.TempDir(), "long")
	check(t, os.WriteFile(long, nil, 0o600))
	check(t, os.Truncate(long, maxTargets*maxTarget+1))
	for _, args := range [][]string{{"--key", long}, {"--key", w.key, "--issuer", long}, {"--key", w.key, "--scan-list", long}} {
		code, _, problems := invoke(t, append([]string{"follow", w.tree, "--once", "--state", t.TempDir()}, args...)...)
		if code != exitUsage || !strings.Contains(problems, " is too large: at most ") {
			t.Errorf("%v: %d %q", args, code, problems)
		}
	}
}

// TestHelp holds every command to two examples, and writes the man pages.
func TestHelp(t *testing.T) {
	root := newRoot(&app{out: io.Discard, err: io.Discard})
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			each(sub)
		}
		if cmd == root || cmd.Name() == "completion" || cmd.Name() == "help" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
			return
		}
		if cmd.Short == "" || cmd.Long == "" || strings.Count(cmd.Example, "certwright-audit "+cmd.Name()) < 2 {
			t.Errorf("%s has no Short, Long or two examples", cmd.CommandPath())
		}
	}
	each(root)
	dir := t.TempDir()
	if code, _, problems := invoke(t, "man", dir); code != exitOK || !strings.Contains(problems, "pages in "+dir) {
		t.Fatalf("man: %d %q", code, problems)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "certwright-audit-follow.1")); err != nil || !bytes.Contains(page, []byte("--state")) {
		t.Errorf("the man page of follow: %v", err)
	}
}
