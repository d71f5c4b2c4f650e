package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// signer asks for one certificate with a CSR, as one of many callers.
type signer func(ctx context.Context, token, csr string) error

// BenchmarkSign measures a certificate at the server's doors, by a join token,
// on kept-alive connections.
func BenchmarkSign(b *testing.B) {
	for _, door := range []struct {
		name string
		open func(*server) signer
	}{{"grpc", grpcSigner}, {"rest", restSigner}} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", door.name, callers), func(b *testing.B) {
				s := startServer(b)
				measure(b, s, door.open(s), callers)
			})
		}
	}
}

// measure runs b.N requests with so many in flight, and reports per certificate:
// server CPU in V, fsyncs, and V itself.
func measure(b *testing.B, s *server, sign signer, callers int) {
	b.Helper()
	measureWith(b, s, sign, newCSRs(b, callers))
}

// measureWith is measure for callers with these CSRs.
func measureWith(b *testing.B, s *server, sign signer, csrs []string) {
	b.Helper()
	callers := len(csrs)
	tokens := s.tokens((b.N+4*callers)/10000 + 1)
	report(b, s, callers, func(n int) int64 { return run(b, sign, tokens, csrs, callers, n) })
}

// report does some operations to warm up and b.N to measure; do returns how many
// of so many failed.
func report(b *testing.B, s *server, callers int, do func(n int) int64) {
	b.Helper()
	if failed := do(4 * callers); failed > 0 {
		b.Fatalf("%d of the first operations failed", failed)
	}
	unit := verificationCPU(b)
	cpu, fsyncs := s.cpu(), s.metric("certwright_storage_fsyncs_total")
	b.ResetTimer()
	failed := do(b.N)
	b.StopTimer()
	cpu, fsyncs = s.cpu()-cpu, s.metric("certwright_storage_fsyncs_total")-fsyncs
	unit = (unit + verificationCPU(b)) / 2
	if failed > 0 {
		b.Fatalf("%d of %d operations failed", failed, b.N)
	}
	n := float64(b.N)
	b.ReportMetric(float64(cpu)/float64(unit)/n, "V/op")
	b.ReportMetric(fsyncs/n, "fsyncs/op")
	b.ReportMetric(n/b.Elapsed().Seconds(), "certs/s")
	b.ReportMetric(float64(unit)/1000, "µs/V")
}

// run makes n requests by so many callers and counts the failed ones. Each
// token serves 10,000.
func run(tb testing.TB, sign signer, tokens, csrs []string, callers, n int) int64 {
	tb.Helper()
	return inFlight(tb, callers, n, func(c, i int) error { return sign(context.Background(), tokens[i/10000], csrs[c]) })
}

// inFlight does operations 0 to n-1 by so many callers, and counts what failed.
func inFlight(tb testing.TB, callers, n int, do func(caller, i int) error) int64 {
	tb.Helper()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(c, i); err != nil && failed.Add(1) == 1 {
					tb.Log(err)
				}
			}
		})
	}
	all.Wait()
	return failed.Load()
}

// grpcSigner shares 4 connections.
func grpcSigner(s *server) signer {
	s.tb.Helper()
	var clients [4]certwrightv1.CertificateServiceClient
	for i := range clients {
		conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(s.roots(), "localhost")))
		check(s.tb, err)
		s.tb.Cleanup(func() { _ = conn.Close() })
		clients[i] = certwrightv1.NewCertificateServiceClient(conn)
	}
	var turn atomic.Uint32
	return func(ctx context.Context, token, csr string) error {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		_, err := clients[turn.Add(1)%4].SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
		return err
	}
}

// restSigner keeps a connection for each caller (HTTP/1.1).
func restSigner(s *server) signer {
	s.tb.Helper()
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: s.roots(), MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: 256,
	}
	s.tb.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	return func(ctx context.Context, token, csr string) error {
		body, err := json.Marshal(map[string]string{"csr": csr, "profile": "server"})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.https+"/v1/certificates:sign", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, answer)
		}
		return nil
	}
}

// TestMeasure runs the harness once with few requests, so that a broken
// benchmark is seen where benchmarks are not run: it judges no figure.
func TestMeasure(t *testing.T) {
	s := startServer(t)
	tokens := s.tokens(1)
	csrs := newCSRs(t, 8)
	for name, open := range map[string]func(*server) signer{"grpc": grpcSigner, "rest": restSigner} {
		before := s.metric("certwright_certificates_issued_total")
		if failed := run(t, open(s), tokens, csrs, 8, 64); failed > 0 {
			t.Errorf("%s: %d of 64 requests failed", name, failed)
		}
		if issued := s.metric("certwright_certificates_issued_total") - before; issued != 64 {
			t.Errorf("%s: the server counts %v certificates, want 64", name, issued)
		}
	}
	if s.cpu() <= 0 || verificationCPU(t) <= 0 || s.size() <= 0 {
		t.Error("a measurement yields nothing")
	}
}
