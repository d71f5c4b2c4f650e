package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// audited is a server whose ledger is followed by an auditor of its own program.
type audited struct {
	*server
	dir, bin, key string
	tokens, token string // of the server, of the auditor
}

// audit runs a look of the auditor at a URL or folder.
func (a *audited) audit(state, source string, args ...string) result {
	a.t.Helper()
	line := append([]string{
		"follow", source, "--key", a.key, "--state", state, "--once", "--grace", "0s",
		"--ca", filepath.Join(a.data, "root.crt"), "--token-file", a.token,
	}, args...)
	cmd := exec.Command(a.bin, line...)
	cmd.Dir = a.dir
	return runCommand(a.t, cmd)
}

// accepts wants a look to have no findings, and to notice what is given.
func (a *audited) accepts(state, source string, notices []string, args ...string) {
	a.t.Helper()
	r := a.audit(state, source, append(args, "-o", "json")...)
	var look struct{ Notices []struct{ Detail string } }
	if r.code != 0 {
		a.t.Errorf("%s with %s: exit %d\n%s%s", source, state, r.code, r.stdout, r.stderr)
		return
	}
	check(a.t, json.Unmarshal([]byte(r.stdout), &look))
	ok := len(look.Notices) == len(notices)
	for i := range min(len(notices), len(look.Notices)) {
		ok = ok && regexp.MustCompile(notices[i]).MatchString(look.Notices[i].Detail)
	}
	if !ok {
		a.t.Errorf("%s with %s noticed:\n%s\nwant %q", source, state, r.stdout, notices)
	}
}

// url is where the ledger is published.
func (a *audited) url() string {
	return "https://localhost" + a.https[strings.LastIndex(a.https, ":"):] + "/ledger"
}

// serve starts the server, whose auditors have tokens.
func (a *audited) serve() {
	a.t.Helper()
	a.startAs(a.command())
}

func (a *audited) command() *exec.Cmd {
	cmd := exec.Command(a.server.bin, a.serveArgs()...)
	cmd.Env = append(os.Environ(), "CERTWRIGHT_LEDGER_AUDITOR_TOKENS="+a.tokens)
	return cmd
}

// refuses wants the server not to start, and to say why.
func (a *audited) refuses(why string) {
	a.t.Helper()
	a.launch(a.command())
	<-a.exited
	if code := a.cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(a.log.String(), why) {
		a.t.Errorf("it ended with %d\n%s", code, a.log)
	}
	a.cmd = nil
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	a := &audited{server: newServer(t), dir: t.TempDir()}
	a.bin, a.key = filepath.Join(a.dir, "certwright-audit"), filepath.Join(a.dir, "ledger.vkey")
	a.tokens, a.token = filepath.Join(a.dir, "auditors"), filepath.Join(a.dir, "token")
	tool(t, "go", "build", "-o", a.bin, "github.com/certwright/certwright/cmd/certwright-audit")
	check(t, writeFile(a.tokens, "# audit\n"+auditorToken+"\n"))
	check(t, writeFile(a.token, auditorToken+"\n"))
	return a
}

// forge signs, with the key of the server's ledger in hand, a checkpoint of another
// history of at least so many entries, and returns it.
func (a *audited) forge(entries int) string {
	a.t.Helper()
	forger := newServer(a.t)
	forger.start()
	forger.stop()
	check(a.t, writeFile(filepath.Join(forger.data, "keys", "checkpoint.key"), readAll(a.t, filepath.Join(a.data, "keys", "checkpoint.key"))))
	check(a.t, bolts(filepath.Join(forger.data, "ledger.db"), func(tx *bbolt.Tx) error { return forget(tx.Bucket([]byte("record")), "checkpoint") }))
	check(a.t, os.Remove(filepath.Join(forger.data, "lock")))
	forger.start()
	forger.issueHosts(entries)
	forger.stop()
	return readAll(a.t, filepath.Join(forger.data, "lock"))
}

// TestAuditorAcrossRecoveries: a server loses what it has written since an older copy of
// its database. With the auditor's folder it is the same history again; without any copy
// a new epoch begins, which auditors accept as linked to the old, by HTTP and by a
// folder, and name what was lost; an epoch that names another past is a finding.
func TestAuditorAcrossRecoveries(t *testing.T) {
	a := newAudited(t)
	a.serve()
	a.issueHosts(16)
	check(t, writeFile(a.key, a.status(a.dir).VerifierKey+"\n"))
	a.stop()
	db, lock := filepath.Join(a.data, "ledger.db"), filepath.Join(a.data, "lock")
	older := readAll(t, db)
	a.serve()
	a.must(a.dir, "cert", "issue", "lost.internal", "--proof")
	a.issueHosts(300)
	a.must(a.dir, "ledger", "proof", "300", "--out", "late.tlog-proof") // which waits for the checkpoint
	a.must(a.dir, "ledger", "export", "copy")
	a.accepts("followed", "copy", nil, "--certs", "lost.internal.crt")
	a.accepts("state", a.url(), nil, "--certs", "lost.internal.crt")
	a.stop()
	seen, before := readAll(t, lock), filepath.Join(a.dir, "before")
	check(t, os.CopyFS(before, os.DirFS(filepath.Join(a.dir, "state"))))

	// An older copy does not start.
	check(t, writeFile(db, older))
	a.refuses("the database is an older copy")
	a.must(a.dir, "ledger", "recover", "--yes", "--from", "state")
	a.serve()
	a.issueHosts(8)
	a.accepts("state", a.url(), nil, "--certs", "lost.internal.crt")
	a.stop()

	// The same loss, and no copy.
	check(t, writeFile(db, older))
	check(t, writeFile(lock, seen))
	a.refuses("the database is an older copy")
	a.must(a.dir, "ledger", "recover", "--yes")
	a.serve()
	a.issueHosts(8)
	a.must(a.dir, "ledger", "proof", "30", "--out", "new.tlog-proof")
	linked := `^epoch 2 begins at entry \d+ and is linked to epoch 1.*; entries \d+ to \d+ of epoch 1 \(\d+\) were seen and are lost to the ledger: .*epochs/0001 has them`
	check(t, os.CopyFS(filepath.Join(a.dir, "by-http"), os.DirFS(before)))
	a.accepts("by-http", a.url(), []string{linked, `in the book of epoch 1, at entry \d+, which is lost`}, "--certs", "lost.internal.crt")
	a.accepts("by-http", a.url(), nil)
	if r := a.run(a.dir, "ledger", "export", "copy"); r.code != 8 || !strings.Contains(r.stderr, "export into another folder") {
		t.Errorf("an export over what is lost: exit %d\n%s", r.code, r.stderr)
	}
	a.must(a.dir, "ledger", "export", "copy2")
	a.accepts("followed", "copy2", []string{linked})
	a.must(a.dir, "ledger", "verify", "--proof", "lost.internal.tlog-proof", "--key", a.status(a.dir).VerifierKey, "--cert", "lost.internal.crt")
	a.must(a.dir, "ledger", "consistency", "copy/checkpoint", "copy2/checkpoint", "--tiles", "copy2", "--key", a.key)
	// This one has seen the same history go on after the first recovery: what the
	// new epoch says of the old is less than was signed.
	if r := a.audit("state", a.url()); r.code != 8 || !strings.HasPrefix(r.stdout, "epoch ") || !strings.Contains(r.stdout, "which were seen") {
		t.Errorf("an epoch that leaves out what was seen: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	a.stop()

	// Epoch 2 begins once more, after a past that never was.
	check(t, writeFile(db, older))
	check(t, writeFile(lock, a.forge(64)))
	a.must(a.dir, "ledger", "recover", "--yes")
	a.serve()
	a.issueHosts(8)
	if r := a.audit("before", a.url()); r.code != 8 || !strings.HasPrefix(r.stdout, "epoch ") {
		t.Errorf("a forged epoch: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := a.audit("by-http", a.url()); r.code != 8 || !strings.HasPrefix(r.stdout, "changed ") && !strings.HasPrefix(r.stdout, "fork ") && !strings.HasPrefix(r.stdout, "shorter ") {
		t.Errorf("a second epoch 2: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
