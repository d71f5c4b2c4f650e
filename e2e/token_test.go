package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// token makes a join token for team-a at the CLI.
func (s *server) token(args ...string) string {
	s.t.Helper()
	out := s.must(s.t.TempDir(), append([]string{
		"token", "create", "--owner", "team-a", "--profile", "server", "--dns", "*.team-a.internal", "--ttl", "1h",
	}, args...)...)
	for _, word := range strings.Fields(out) {
		if strings.HasPrefix(word, "cwt_") {
			return word
		}
	}
	s.t.Fatalf("no token in %q", out)
	return ""
}

// tcp is a connection to the gRPC port over TLS.
func (s *server) tcp() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(s.roots(), "localhost")))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func bearer(token string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
}

// TestTokenUsedByTwoProcesses uses each of 50 one-time tokens 64 times at once,
// from two processes over REST and gRPC: exactly one certificate each.
func TestTokenUsedByTwoProcesses(t *testing.T) {
	const repetitions, uses = 50, 64
	s := newServer(t)
	s.start()
	client := certwrightv1.NewCertificateServiceClient(s.tcp())
	bodies := make([]string, uses/2)
	requests := make([]string, uses/2)
	for i := range bodies {
		requests[i] = csrPEM(t, newKey(t), "one.team-a.internal")
		body, err := json.Marshal(map[string]string{"csr": csrPEM(t, newKey(t), "one.team-a.internal"), "profile": "server"})
		check(t, err)
		bodies[i] = string(body)
	}
	for rep := range repetitions {
		token := s.token()
		issued := make(chan string, 2*uses)
		var all sync.WaitGroup
		for _, csr := range requests { // this process
			all.Go(func() {
				c, err := client.SignCertificate(bearer(token), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
				switch {
				case err == nil:
					issued <- c.Serial
				case status.Code(err) != codes.PermissionDenied:
					t.Errorf("a spent token is answered %v", err)
				}
			})
		}
		all.Go(func() { // and another
			for _, serial := range s.curlParallel(token, bodies) {
				issued <- serial
			}
		})
		all.Wait()
		close(issued)
		if n := len(issued); n != 1 {
			t.Fatalf("repetition %d: %d certificates for one one-time token", rep, n)
		}
	}
	list := listAll(context.Background(), t, certwrightv1.NewCertificateServiceClient(s.socket()), `owner = "team-a"`)
	issued := 0
	for _, c := range list {
		if c.State == certwrightv1.Certificate_ISSUED {
			issued++
		}
	}
	if issued != repetitions {
		t.Errorf("the ledger has %d certificates of %d tokens", issued, repetitions)
	}
}

// TestRequestID asks again under the same request ID.
func TestRequestID(t *testing.T) {
	s := newServer(t)
	s.start()
	client := certwrightv1.NewCertificateServiceClient(s.tcp())
	key := newKey(t)
	one, other := s.token("--uses", "5"), s.token("--uses", "5")
	ask := func(token, csr string) (*certwrightv1.Certificate, error) {
		return client.SignCertificate(bearer(token), &certwrightv1.SignCertificateRequest{
			Csr: csr, Profile: "server", RequestId: "deploy-42",
		})
	}
	first, err := ask(one, csrPEM(t, key, "a.team-a.internal"))
	check(t, err)
	t.Run("the same request: the same certificate", func(t *testing.T) {
		var all sync.WaitGroup
		for range 16 {
			csr := csrPEM(t, key, "a.team-a.internal")
			all.Go(func() {
				again, err := ask(one, csr)
				if err != nil || again.Id != first.Id || again.Pem != first.Pem {
					t.Errorf("got %v, %v; want certificate %s", again, err, first.Id)
				}
			})
		}
		all.Wait()
	})
	t.Run("another body: conflict", func(t *testing.T) {
		_, err := ask(one, csrPEM(t, key, "b.team-a.internal"))
		if code := status.Code(err); code != codes.AlreadyExists && code != codes.Aborted && code != codes.FailedPrecondition {
			t.Errorf("another name under the same ID: %v", err)
		}
		if _, err = ask(one, csrPEM(t, newKey(t), "a.team-a.internal")); err == nil {
			t.Error("another key under the same ID is accepted")
		}
	})
	t.Run("another caller sees nothing of it", func(t *testing.T) {
		theirs, err := ask(other, csrPEM(t, key, "a.team-a.internal"))
		check(t, err)
		if theirs.Id == first.Id {
			t.Error("another caller is given the first caller's certificate")
		}
		if _, err := client.GetCertificate(bearer(other), &certwrightv1.GetCertificateRequest{Id: first.Id}); status.Code(err) != codes.NotFound {
			t.Errorf("another caller's read of it: %v, want NotFound", err)
		}
	})
	mine := 0
	for _, c := range listAll(context.Background(), t, certwrightv1.NewCertificateServiceClient(s.socket()), `owner = "team-a"`) {
		if c.Requester == first.Requester {
			mine++
		}
	}
	if mine != 1 {
		t.Errorf("%d ledger entries for one request ID, want 1", mine)
	}
}

// curlParallel posts all bodies at once from one curl process and returns the
// serials of the certificates it got.
func (s *server) curlParallel(token string, bodies []string) []string {
	dir := s.t.TempDir()
	var config strings.Builder
	for i, body := range bodies {
		file := filepath.Join(dir, fmt.Sprintf("body%d", i))
		check(s.t, writeFile(file, body))
		if i > 0 {
			config.WriteString("next\n")
		}
		fmt.Fprintf(&config, "url = \"https://%s/v1/certificates:sign\"\ncacert = %q\nheader = \"Authorization: Bearer %s\"\n"+
			"header = \"Content-Type: application/json\"\ndata = \"@%s\"\noutput = %q\n",
			s.https, filepath.Join(s.data, "root.crt"), token, file, filepath.Join(dir, fmt.Sprintf("answer%d", i)))
	}
	check(s.t, writeFile(filepath.Join(dir, "config"), config.String()))
	tool(s.t, "curl", "-sS", "--parallel", "--parallel-immediate", "--parallel-max", "64", "-K", filepath.Join(dir, "config"))
	var serials []string
	for i := range bodies {
		var answer struct{ Serial string }
		text := readAll(s.t, filepath.Join(dir, fmt.Sprintf("answer%d", i)))
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			s.t.Errorf("not JSON: %.200s", text)
		}
		if answer.Serial != "" {
			serials = append(serials, answer.Serial)
		}
	}
	return serials
}
