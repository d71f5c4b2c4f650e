package bench

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	xocsp "golang.org/x/crypto/ocsp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/certwright/certwright/ocsp"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// pace is the pause of each worker after a piece of work, so that a soak does not
// take the whole machine.
const pace = 50 * time.Millisecond

// TestSoak has a server work under a mixed load for the duration SOAK (default 20 s)
// and wants what it holds to be flat in the second half: memory after a collection,
// goroutines, descriptors; and the anonymous pages within what the heap may grow to
// between two collections. The ledger grows meanwhile, and its pages in memory are the
// file's: they do not count.
func TestSoak(t *testing.T) {
	length := 20 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		check(t, err)
	}
	s := newSoak(t)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var all sync.WaitGroup
	for name, work := range s.work {
		all.Go(func() { s.repeat(ctx, name, work) })
	}
	samples := s.sampleUntil(ctx, length/48)
	all.Wait()
	for name := range s.work {
		t.Logf("%-8s %d", name, s.done[name].Load())
		if s.done[name].Load() == 0 {
			t.Errorf("%s: nothing was done", name)
		}
	}
	judge(t, samples, length)
	judgePages(t, samples)
}

// soak is a server and the work that is done against it, by name.
type soak struct {
	*acmeWorld
	tb   testing.TB
	work map[string]func(context.Context) error
	done map[string]*atomic.Int64
}

func newSoak(tb testing.TB) *soak {
	tb.Helper()
	w := newACMEWorld(tb, "CERTWRIGHT_LISTEN_PPROF=true")
	s := &soak{acmeWorld: w, tb: tb, done: map[string]*atomic.Int64{}}
	csrs, tokens := newCSRs(tb, 1), w.server.tokens(64)
	var turn atomic.Int64
	token := func() string { return tokens[turn.Add(1)/5000%64] } // each serves 10,000
	overGRPC, overREST := grpcSigner(w.server), restSigner(w.server)
	held, keys := newKeys(tb, 1)
	renew := renewSigner(renewers(w.server, tokens[0], held, keys), true)
	clients := w.clients(3)
	cert, issuer := w.server.certificate()
	plain, err := xocsp.CreateRequest(cert, issuer, &xocsp.RequestOptions{Hash: crypto.SHA1})
	check(tb, err)
	plainHTTP := "http://" + w.server.http
	s.work = map[string]func(context.Context) error{
		"acme":  func(ctx context.Context) error { return clients[0].obtain(ctx, false) },
		"fresh": func(ctx context.Context) error { return clients[1].obtain(ctx, true) },
		"fails": func(ctx context.Context) error { return clients[2].fail(ctx) },
		"grpc":  func(ctx context.Context) error { return overGRPC(ctx, token(), csrs[0]) },
		"rest":  func(ctx context.Context) error { return overREST(ctx, token(), csrs[0]) },
		"denied": func(ctx context.Context) error {
			return wantFailure(overREST(ctx, "cwt_unknown", csrs[0]), "401")
		},
		"revoke": w.server.revoker(),
		"renew":  func(ctx context.Context) error { return renew(ctx, "", held[0]) },
		"ocsp": func(ctx context.Context) error {
			_, err := exchange(ctx, http.DefaultClient, http.MethodGet, plainHTTP+"/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(plain)), nil)
			return err
		},
		"nonce": func(ctx context.Context) error {
			q, err := ocsp.NewQuestion(cert, issuer, crypto.SHA1)
			if err == nil {
				_, err = exchange(ctx, http.DefaultClient, http.MethodPost, plainHTTP+"/ocsp", q.DER)
			}
			return err
		},
		"crl": func(ctx context.Context) error {
			_, err := exchange(ctx, http.DefaultClient, http.MethodGet, cert.CRLDistributionPoints[0], nil)
			return err
		},
	}
	for name := range s.work {
		s.done[name] = &atomic.Int64{}
	}
	return s
}

// repeat does one sort of work again and again until ctx ends; what is under way then
// is not cut off.
func (s *soak) repeat(ctx context.Context, name string, work func(context.Context) error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := work(s.tb.Context()); err == nil {
			s.done[name].Add(1)
		} else {
			s.tb.Errorf("%s: %v", name, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// fail asks for what is refused, and for a challenge that nobody answers.
func (c *acmeClient) fail(ctx context.Context) error {
	if _, err := c.AuthorizeOrder(ctx, acme.DomainIDs("not-here.example.com")); wantFailure(err, "rejectedIdentifier") != nil {
		return fmt.Errorf("a name of others: %w", err)
	}
	name := fmt.Sprintf("fails-h%d.internal", c.world.names.Add(1))
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return err
	}
	authz, err := c.GetAuthorization(ctx, order.AuthzURLs[0])
	if err != nil {
		return err
	}
	_, err = c.Accept(ctx, authz.Challenges[0]) // the name has no address
	return err
}

// wantFailure is nil if err is there and says so.
func wantFailure(err error, text string) error {
	if err == nil {
		return errors.New("it was not refused")
	}
	if !strings.Contains(err.Error(), text) {
		return err
	}
	return nil
}

// revoker issues and revokes over the admin socket.
func (s *server) revoker() func(context.Context) error {
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data(), "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(s.tb, err)
	s.tb.Cleanup(func() { _ = conn.Close() })
	client := certwrightv1.NewCertificateServiceClient(conn)
	csr, _ := newCSR(s.tb, "revoked.internal")
	return func(ctx context.Context) error {
		c, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
		if err != nil {
			return err
		}
		_, err = client.RevokeCertificate(ctx, &certwrightv1.RevokeCertificateRequest{Id: c.GetId(), Reason: certwrightv1.Revocation_SUPERSEDED})
		return err
	}
}
