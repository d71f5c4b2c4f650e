package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage/bolt"
)

// TestRevocationJourney: what relying parties see before and after a revocation,
// at the addresses that the certificate names, with their own programs; and
// after a kill and a restart.
func TestRevocationJourney(t *testing.T) {
	t.Setenv("CERTWRIGHT_CRL_REBUILD_DELAY", "1s")
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	for _, name := range []string{"good.internal", "bad.internal"} {
		s.must(dir, "cert", "issue", name)
	}
	good, bad := parsePEM(t, readAll(t, filepath.Join(dir, "good.internal.crt"))), parsePEM(t, readAll(t, filepath.Join(dir, "bad.internal.crt")))
	chain := filepath.Join(dir, "bad.internal.chain.pem")
	issuer := parsePEM(t, readAll(t, chain))
	root := filepath.Join(s.data, "root.crt")
	ask := func(cert string) string {
		return tool(t, "openssl", "ocsp", "-issuer", chain, "-cert", filepath.Join(dir, cert), "-url", bad.OCSPServer[0], "-CAfile", root, "-no_nonce")
	}
	if out := ask("bad.internal.crt"); !strings.Contains(out, "bad.internal.crt: good") {
		t.Errorf("before: %s", out)
	}
	s.judgedByGo(dir, "good.internal", false)
	s.judgedByGo(dir, "bad.internal", false)
	s.must(dir, "cert", "revoke", "bad.internal.crt", "--reason", "keyCompromise")
	// The first question after the command says it: nothing has to pass before.
	if out := ask("bad.internal.crt"); !strings.Contains(out, "bad.internal.crt: revoked") || !strings.Contains(out, "keyCompromise") {
		t.Errorf("after: %s", out)
	}
	s.waitListed(bad, issuer)
	s.judgedByGo(dir, "good.internal", false)
	s.judgedByGo(dir, "bad.internal", true)
	s.kill()
	s.start()
	s.waitListed(bad, issuer)
	if out := ask("bad.internal.crt"); !strings.Contains(out, "bad.internal.crt: revoked") {
		t.Errorf("after a kill: %s", out)
	}
	if out := ask("good.internal.crt"); !strings.Contains(out, "good.internal.crt: good") {
		t.Errorf("the other: %s", out)
	}

	// openssl with the shards' lists and the root's.
	crls := filepath.Join(dir, "crls.pem")
	var lists bytes.Buffer
	for _, url := range []string{good.CRLDistributionPoints[0], bad.CRLDistributionPoints[0], "http://" + s.http + "/crl/root.crl"} {
		code, body := httpGet(url)
		if code != 200 {
			t.Fatalf("%s: %d", url, code)
		}
		if err := pem.Encode(&lists, &pem.Block{Type: "X509 CRL", Bytes: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(crls, lists.String()); err != nil {
		t.Fatal(err)
	}
	tool(t, "openssl", "verify", "-crl_check_all", "-CAfile", root, "-untrusted", chain, "-CRLfile", crls, filepath.Join(dir, "good.internal.crt"))
	r := runCommand(t, exec.Command("openssl", "verify", "-crl_check_all", "-CAfile", root, "-untrusted", chain, "-CRLfile", crls, filepath.Join(dir, "bad.internal.crt")))
	if r.code == 0 || !strings.Contains(r.stdout+r.stderr, "certificate revoked") {
		t.Errorf("openssl verify: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	s.must(dir, "ledger", "verify", "--signatures")
}

// waitListed waits until the CRL that a certificate names lists it.
func (s *server) waitListed(cert, issuer *x509.Certificate) {
	s.t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !isListed(cert, issuer) {
		select {
		case <-deadline:
			s.t.Fatalf("serial %x is not listed in time\n%s", cert.SerialNumber, s.log)
		case <-tick.C:
		}
	}
}

func isListed(cert, issuer *x509.Certificate) bool {
	code, body := httpGet(cert.CRLDistributionPoints[0])
	list, err := x509.ParseRevocationList([]byte(body))
	if code != 200 || err != nil || list.CheckSignatureFrom(issuer) != nil {
		return false
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

const bulkSize = 10_000

// TestBulkKilled kills the server half-way through a bulk revocation: the next
// start goes on, and each serial stands in the ledger once.
func TestBulkKilled(t *testing.T) {
	s := newServer(t)
	s.start()
	s.fillBulk(bulkSize)
	ctx := context.Background()
	op, err := certwrightv1.NewCertificateServiceClient(s.socket()).BulkRevokeCertificates(ctx, &certwrightv1.BulkRevokeCertificatesRequest{
		Filter: `name:"bulk.internal"`, Reason: certwrightv1.Revocation_CESSATION_OF_OPERATION,
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := s.awaitBulk(op.Id, func(o *certwrightv1.Operation) bool { return o.BulkRevocation.Revoked >= bulkSize/4 })
	s.kill()
	if seen.Done {
		t.Log("it was done before the kill")
	}
	left := len(s.revocations())
	t.Logf("killed at %d, %d are in the ledger", seen.BulkRevocation.Revoked, left)
	if left == 0 || left >= bulkSize {
		t.Errorf("the kill was not half-way: %d are revoked", left)
	}
	s.start()
	done := s.awaitBulk(op.Id, func(o *certwrightv1.Operation) bool { return o.Done })
	if b := done.BulkRevocation; done.Error != "" || b.Revoked != bulkSize || b.Total != bulkSize {
		t.Errorf("%v", done)
	}
	s.must(t.TempDir(), "ledger", "verify")
	s.stop()
	counts := s.revocations()
	if len(counts) != bulkSize {
		t.Errorf("%d serials are revoked", len(counts))
	}
	for serial, n := range counts {
		if n != 1 {
			t.Fatalf("serial %s stands %d times", serial, n)
		}
	}
}

// fillBulk has n certificates issued for bulk.internal.
func (s *server) fillBulk(n int) {
	s.t.Helper()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	csr := csrPEM(s.t, newKey(s.t), "bulk.internal")
	var left atomic.Int64
	left.Store(int64(n))
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := client.SignCertificate(context.Background(), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"}); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// awaitBulk polls an operation until the condition holds.
func (s *server) awaitBulk(id string, holds func(*certwrightv1.Operation) bool) *certwrightv1.Operation {
	s.t.Helper()
	client := certwrightv1.NewOperationServiceClient(s.socket())
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		op, err := client.GetOperation(context.Background(), &certwrightv1.GetOperationRequest{Id: id})
		if err != nil {
			s.t.Fatal(err)
		}
		if holds(op) {
			return op
		}
		select {
		case <-deadline:
			s.t.Fatalf("not in time: %v", op)
		case <-tick.C:
		}
	}
}

// revocations counts the revocations of a stopped server's ledger by serial,
// those of intents that a start has settled left out.
func (s *server) revocations() map[identity.Serial]int {
	s.t.Helper()
	ctx := context.Background()
	store, err := bolt.Open(ctx, bolt.Config{Path: filepath.Join(s.data, "ledger.db"), ReadOnly: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	out := map[identity.Serial]int{}
	for start := uint64(0); ; {
		raws, err := store.Entries(ctx, start, 1000)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(raws) == 0 {
			return out
		}
		for _, raw := range raws {
			e, err := entry.Parse(raw)
			if err != nil {
				s.t.Fatal(err)
			}
			if e.Kind != entry.Revocation {
				continue
			}
			body, err := entry.ParseRevocation(e.Draft)
			if err != nil {
				s.t.Fatal(err)
			}
			out[body.Serial]++
		}
		start += uint64(len(raws))
	}
}
