package server

import (
	"crypto"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ocsp"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestForked: of two clones of a data folder with one last-seen file the second
// issues nothing any more, says why, and still revokes and answers.
func TestForked(t *testing.T) {
	dir := t.TempDir()
	lock := "CERTWRIGHT_LEDGER_LOCK=" + filepath.Join(dir, "locks", "ca")
	first := start(t, load(t, dir, true, lock))
	cert, err := first.issue("svc.internal")
	if err != nil {
		t.Fatal(err)
	}
	leaf, issuer := first.leaf(cert)
	first.end()
	clone := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(clone, os.DirFS(first.config.Data)); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(clone, "keys", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if err := os.Chmod(key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := load(t, filepath.Dir(clone), true, lock)
	winner, loser := start(t, first.config), start(t, c)
	if _, err := winner.issue("svc.internal"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second to hold", func() bool { return loser.server.rooms.log.Hold() != nil })
	if _, err := loser.issue("svc.internal"); err == nil || !strings.Contains(err.Error(), "changed by somebody else") {
		t.Errorf("issued: %v", err)
	}
	if code, body := loser.get("http://" + loser.Metrics + "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "changed by somebody else") {
		t.Errorf("readyz: %d %q", code, body)
	}
	if code, _ := winner.get("http://" + winner.Metrics + "/readyz"); code != http.StatusOK {
		t.Errorf("the first is not ready: %d", code)
	}
	conn, err := client.Dial(t.Context(), client.Config{Server: "unix:" + loser.Socket})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head, err := certwrightv1.NewLedgerServiceClient(conn).GetHead(t.Context(), &certwrightv1.GetHeadRequest{})
	if err != nil || !strings.Contains(head.GetHeld(), "signing is held") {
		t.Errorf("head: %q, %v", head.GetHeld(), err)
	}
	loser.revoke(leaf, identity.Superseded)
	question, err := ocsp.NewQuestion(leaf, issuer, crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := question.Ask(t.Context(), http.DefaultClient, "http://"+loser.HTTP+"/ocsp"); err != nil || answer.Status != "revoked" {
		t.Errorf("OCSP: %+v, %v", answer, err)
	}
	loser.stop()
	if err := <-loser.ended; err == nil || !strings.Contains(err.Error(), "last checkpoint") {
		t.Errorf("it has ended with %v", err)
	}
	close(loser.ended)
}
