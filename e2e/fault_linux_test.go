package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage/bolt/diskfault"
)

// startBehind runs the server behind a disk.
func (s *server) startBehind(d *diskfault.Disk, args ...string) {
	s.t.Helper()
	s.launchBy(exec.Command(s.bin, s.serveArgs(args...)...), d.Start)
	if err := s.ready(60 * time.Second); err != nil {
		s.t.Fatalf("server: %v\n%s", err, s.log)
	}
}

// TestDiskFaults lets the k-th call fail that a server under load makes on its
// database, once (EIO) or from then on (ENOSPC). It issues no more and says so,
// answers OCSP and CRLs, and comes back when the cause is gone, with all that was
// delivered.
func TestDiskFaults(t *testing.T) {
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	s.must(dir, "cert", "issue", "kept.internal")
	s.stop()
	kept := relying{
		leaf:   parsePEM(t, readAll(t, filepath.Join(dir, "kept.internal.crt"))),
		issuer: parsePEM(t, readAll(t, filepath.Join(dir, "kept.internal.chain.pem"))),
	}
	witnessed := newDeliveries()
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		for n := range 4 * rounds(t) / 20 {
			k := n * n * 20 // a commit is about 20 calls
			if n >= 4 {
				k = rand.IntN(600)
			}
			t.Run(fmt.Sprintf("%s/%d", unix.ErrnoName(errno), k), func(t *testing.T) {
				s.t = t
				d := &diskfault.Disk{Folder: s.data}
				s.startBehind(d)
				d.SetJudge(failing(k, errno))
				s.issueUntilRefused(witnessed)
				s.checkReadOnly(kept)
				s.stop()
				if err := d.Wait(); err != nil {
					t.Error(err)
				}
				s.must(dir, "ledger", "verify")
				s.start()
				for _, fault := range s.compare(witnessed) {
					t.Error(fault)
				}
				s.must(t.TempDir(), "cert", "issue", "after.internal")
				s.stop()
			})
		}
	}
	s.t = t
	s.must(dir, "ledger", "verify", "--signatures")
	t.Logf("%d certificates delivered", len(witnessed.byID))
}

// failing lets the k-th call on the database fail.
func failing(k int, errno unix.Errno) func(diskfault.Call) diskfault.Verdict {
	n := 0
	return func(c diskfault.Call) diskfault.Verdict {
		if c.Path != "ledger.db" || !c.Changes() {
			return diskfault.Verdict{}
		}
		n++
		if n-1 == k || n-1 > k && errno == unix.ENOSPC && c.Kind == diskfault.Write {
			return diskfault.Verdict{Errno: errno}
		}
		return diskfault.Verdict{}
	}
}

// issueUntilRefused asks with 8 callers until each is refused, as unavailable.
func (s *server) issueUntilRefused(witnessed *deliveries) {
	s.t.Helper()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var callers sync.WaitGroup
	for n := range 8 {
		csr := csrPEM(s.t, newKey(s.t), fmt.Sprintf("w%d.internal", n))
		callers.Go(func() {
			for round := 0; ; round++ {
				c, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
				if err != nil {
					s.refused(err)
					return
				}
				witnessed.add(fingerprint(c.Pem), c.Serial)
			}
		})
	}
	callers.Wait()
}

// refused checks that an error says that the store takes no writes.
func (s *server) refused(err error) {
	if st, _ := status.FromError(err); st.Code() != codes.Unavailable || !slices.Contains([]string{"STORE_READ_ONLY", "DISK_FULL"}, reasonOf(err)) {
		s.t.Errorf("refused: %v (%s)", err, reasonOf(err))
	}
}

// relying is a certificate with its issuer's.
type relying struct{ leaf, issuer *x509.Certificate }

// ocsp asks for the certificate's status.
func (s *server) ocsp(r relying) int {
	s.t.Helper()
	question, err := ocsp.CreateRequest(r.leaf, r.issuer, nil)
	check(s.t, err)
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Post("http://"+s.http+"/ocsp", "application/ocsp-request", bytes.NewReader(question))
	check(s.t, err)
	defer answer.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(answer.Body)
	check(s.t, err)
	parsed, err := ocsp.ParseResponseForCert(body.Bytes(), r.leaf, r.issuer)
	if err != nil {
		s.t.Fatalf("OCSP: %v (status %d)", err, answer.StatusCode)
	}
	return parsed.Status
}

// crl fetches the list that the certificate names.
func (s *server) crl(r relying) *x509.RevocationList {
	s.t.Helper()
	url := "http://" + s.http + r.leaf.CRLDistributionPoints[0][strings.Index(r.leaf.CRLDistributionPoints[0], "/crl/"):]
	code, body := httpGet(url)
	if code != 200 {
		s.t.Fatalf("%s: %d", url, code)
	}
	list, err := x509.ParseRevocationList([]byte(body))
	check(s.t, err)
	check(s.t, list.CheckSignatureFrom(r.issuer))
	return list
}

// checkReadOnly looks at a server whose store has failed.
func (s *server) checkReadOnly(kept relying) {
	s.t.Helper()
	if code, _ := httpGet("http://" + s.metrics + "/livez"); code != 200 {
		s.t.Errorf("livez: %d", code)
	}
	if code, body := httpGet("http://" + s.metrics + "/readyz"); code != 503 || !strings.Contains(body, "read-only") {
		s.t.Errorf("readyz: %d %s", code, body)
	}
	if got := s.ocsp(kept); got != ocsp.Good {
		s.t.Errorf("OCSP says %d", got)
	}
	s.crl(kept)
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	_, err := client.SignCertificate(context.Background(), &certwrightv1.SignCertificateRequest{
		Csr: csrPEM(s.t, newKey(s.t), "late.internal"), Profile: "server",
	})
	s.refused(err)
	_, err = client.RevokeCertificate(context.Background(), &certwrightv1.RevokeCertificateRequest{
		Id: fmt.Sprintf("%x", sha256.Sum256(kept.leaf.Raw)), Reason: certwrightv1.Revocation_SUPERSEDED,
	})
	s.refused(err)
	r := s.run(s.t.TempDir(), "cert", "issue", "late.internal")
	if r.code == 0 || !strings.Contains(r.stderr, "takes no writes") {
		s.t.Errorf("cert issue: exit %d, %s", r.code, r.stderr)
	}
}

// TestNearlyFullDisk: with little space left nothing is issued, while
// revocations, OCSP and new CRLs go on; so too after a restart.
func TestNearlyFullDisk(t *testing.T) {
	t.Setenv("CERTWRIGHT_CRL_REBUILD_DELAY", "1s")
	s := newServer(t)
	dir := t.TempDir()
	d := &diskfault.Disk{Folder: filepath.Dir(s.data)}
	s.startBehind(d)
	var certs []relying
	for _, name := range []string{"first.internal", "second.internal"} {
		s.must(dir, "cert", "issue", name)
		certs = append(certs, relying{
			parsePEM(t, readAll(t, filepath.Join(dir, name+".crt"))), parsePEM(t, readAll(t, filepath.Join(dir, name+".chain.pem"))),
		})
	}
	little := func(diskfault.Call) diskfault.Verdict { return diskfault.Verdict{Free: 8 << 20} }
	for n, cert := range certs {
		d.Judge = little
		d.SetJudge(little)
		r := s.run(dir, "cert", "issue", "late.internal")
		if r.code == 0 || !strings.Contains(r.stderr, "nearly full") {
			t.Errorf("issued: exit %d, %s", r.code, r.stderr)
		}
		if got := s.ocsp(cert); got != ocsp.Good {
			t.Errorf("OCSP says %d before", got)
		}
		s.must(dir, "cert", "revoke", []string{"first.internal.crt", "second.internal.crt"}[n], "--reason", "superseded")
		if got := s.ocsp(cert); got != ocsp.Revoked {
			t.Errorf("OCSP says %d after", got)
		}
		s.waitListed(cert.leaf, cert.issuer)
		s.stop()
		s.startBehind(d)
	}
	d.SetJudge(nil)
	s.must(dir, "cert", "issue", "late.internal")
	s.must(dir, "ledger", "verify")
	s.stop()
}
