package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const auditorToken = "an-auditors-token-0123456789abcdef"

// publishing is a server with auditors and a book of more than one bundle.
func publishing(t *testing.T) *server {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "auditors")
	check(t, writeFile(tokens, "# audit\n"+auditorToken+"\n"))
	s := newServer(t)
	cmd := exec.Command(s.bin, s.serveArgs()...)
	cmd.Env = append(os.Environ(), "CERTWRIGHT_LEDGER_AUDITOR_TOKENS="+tokens)
	s.startAs(cmd)
	s.issueHosts(300)
	return s
}

// issueHosts issues n certificates, eight at a time.
func (s *server) issueHosts(n int) {
	s.t.Helper()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	csr := csrPEM(s.t, newKey(s.t), "host.internal")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range (n + 7) / 8 {
				if _, err := client.SignCertificate(context.Background(), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"}); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// status is what ledger status says, as JSON.
func (s *server) status(dir string) (head struct {
	VerifierKey, Size, CheckpointSize string
	Completeness                      struct{ Signatures, Intents, Uncounted, Difference string }
},
) {
	s.t.Helper()
	check(s.t, json.Unmarshal([]byte(s.must(dir, "ledger", "status", "-o", "json")), &head))
	return head
}

// fsck runs Tessera's checker, which shares no code with ours.
func fsck(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "."}, args...)...)
	cmd.Dir = filepath.Join("..", "tools", "fsck")
	return runCommand(t, cmd)
}

// TestTesseraFsck: Tessera's checker passes what is served and what is exported, from
// a running server and from its file, and finds a changed octet in each kind of file.
func TestTesseraFsck(t *testing.T) {
	s := publishing(t)
	dir := t.TempDir()
	copied := filepath.Join(dir, "copy")
	s.must(dir, "ledger", "export", copied)
	s.issueHosts(16)
	s.must(dir, "ledger", "export", copied)
	key := s.status(dir).VerifierKey
	pass := func(what string, args ...string) {
		t.Helper()
		if r := fsck(t, args...); r.code != 0 || !strings.Contains(r.stdout, "ok") {
			t.Fatalf("%s: exit %d\n%s%s", what, r.code, r.stdout, r.stderr)
		}
	}
	pass("what is exported", copied, key)
	base := "https://localhost" + s.https[strings.LastIndex(s.https, ":"):] + "/ledger/"
	pass("what is served", base, key, filepath.Join(s.data, "root.crt"), auditorToken)
	if r := fsck(t, base, key, filepath.Join(s.data, "root.crt")); r.code == 0 {
		t.Error("the ledger is served to a stranger")
	}
	s.stop()
	offline := filepath.Join(dir, "offline")
	s.must(dir, "ledger", "export", offline)
	pass("what is exported from the file", offline, key)
	for _, path := range []string{"checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"} {
		name := filepath.Join(offline, path)
		whole := readAll(t, name)
		changed := []byte(whole)
		changed[len(changed)/2] ^= 4
		check(t, os.WriteFile(name, changed, 0o600))
		if r := fsck(t, offline, key); r.code == 0 {
			t.Errorf("a changed octet of %s is not found", path)
		}
		check(t, writeFile(name, whole))
	}
}

// TestConsistencyAcrossHistories: a saved checkpoint is continued by the server that
// signed it, and by no other that has its key.
func TestConsistencyAcrossHistories(t *testing.T) {
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	s.must(dir, "cert", "issue", "a.internal", "--proof")
	key := s.status(dir).VerifierKey
	check(t, writeFile(filepath.Join(dir, "verifier.key"), key+"\n"))
	s.must(dir, "ledger", "verify", "--proof", "a.internal.tlog-proof", "--key", "verifier.key", "--cert", "a.internal.crt")
	s.must(dir, "ledger", "export", "copy")
	s.issueHosts(8)
	s.must(dir, "ledger", "consistency", "copy/checkpoint", "--key", key)
	s.must(dir, "ledger", "consistency", "a.internal.tlog-proof", "copy/checkpoint", "--tiles", "copy", "--key", "verifier.key")
	s.stop()

	// The same checkpoint key over another book: what somebody does who hides.
	forger := newServer(t)
	forger.start()
	forger.stop()
	check(t, writeFile(filepath.Join(forger.data, "keys", "checkpoint.key"), readAll(t, filepath.Join(s.data, "keys", "checkpoint.key"))))
	check(t, bolts(filepath.Join(forger.data, "ledger.db"), func(tx *bbolt.Tx) error { return forget(tx.Bucket([]byte("record")), "checkpoint") }))
	check(t, os.Remove(filepath.Join(forger.data, "lock")))
	forger.start()
	if r := forger.run(dir, "ledger", "consistency", "copy/checkpoint", "--key", key); r.code != 8 || !strings.Contains(r.stderr, "entries are missing") {
		t.Errorf("a shorter history: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	forger.issueHosts(64)
	forger.must(dir, "ledger", "proof", "64") // which waits for the checkpoint
	if r := forger.run(dir, "ledger", "consistency", "copy/checkpoint", "--key", key); r.code != 8 || !strings.Contains(r.stderr, "not one history") {
		t.Errorf("another history: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := forger.run(dir, "ledger", "export", "copy"); r.code != 8 || !strings.Contains(r.stderr, "not one history") {
		t.Errorf("export over another history: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// TestCompletenessOverRestarts: signatures and intents agree after an orderly stop and
// after kill -9 under load; what a killed run did not write down is told apart.
func TestCompletenessOverRestarts(t *testing.T) {
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	s.issueHosts(16)
	before := s.status(dir).Completeness
	if before.Signatures != before.Intents || before.Difference != "0" || before.Uncounted != "0" {
		t.Errorf("%+v", before)
	}
	s.stop()
	s.start()
	if after := s.status(dir).Completeness; after.Difference != "0" || after.Uncounted != "0" || after.Intents < before.Intents {
		t.Errorf("after a stop: %+v, before %+v", after, before)
	}
	s.issueHosts(16)
	s.kill()
	s.start()
	s.issueHosts(8)
	killed := s.status(dir).Completeness
	if killed.Difference != "0" {
		t.Errorf("after a kill: %+v", killed)
	}
	if _, text := httpGet("http://" + s.metrics + "/metrics"); !strings.Contains(text, "\ncertwright_ledger_completeness_difference 0\n") {
		t.Error("the metric is not there")
	}
	t.Logf("after a kill: %+v", killed)
}

// bolts changes a stopped server's database behind its back.
func bolts(file string, change func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(change), db.Close())
}

// forget deletes the rows whose key begins with a word.
func forget(b *bbolt.Bucket, word string) error {
	c := b.Cursor()
	for k, _ := c.Seek([]byte(word)); k != nil && strings.HasPrefix(string(k), word); k, _ = c.Next() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}
