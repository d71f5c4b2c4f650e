package bench

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	xocsp "golang.org/x/crypto/ocsp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/certwright/certwright/ocsp"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const ocspConnections = 16

// BenchmarkOCSP measures an answer at the server's /ocsp over 16 kept-alive
// connections: from the cache, by GET and by POST, and signed now, for a nonce.
func BenchmarkOCSP(b *testing.B) {
	s := startServer(b)
	cert, issuer := s.certificate()
	plain, err := xocsp.CreateRequest(cert, issuer, &xocsp.RequestOptions{Hash: crypto.SHA1})
	check(b, err)
	nonce, err := ocsp.NewQuestion(cert, issuer, crypto.SHA1)
	check(b, err)
	base := "http://" + s.http + "/ocsp"
	get := base + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(plain))
	for _, way := range []struct {
		name, method, url string
		body              []byte
	}{
		{"cached/get", http.MethodGet, get, nil},
		{"cached/post", http.MethodPost, base, plain},
		{"signed/post", http.MethodPost, base, nonce.DER},
	} {
		b.Run(way.name, func(b *testing.B) {
			ask(b, issuer, way.method, way.url, way.body, 100) // warm
			unit, before := verificationCPU(b), s.cpu()
			b.ResetTimer()
			ask(b, issuer, way.method, way.url, way.body, b.N)
			b.StopTimer()
			used := s.cpu() - before
			unit = (unit + verificationCPU(b)) / 2
			b.ReportMetric(float64(used)/float64(unit)/float64(b.N), "V/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
		})
	}
}

// certificate is a new certificate with its issuer's.
func (s *server) certificate() (cert, issuer *x509.Certificate) {
	s.tb.Helper()
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data(), "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(s.tb, err)
	defer conn.Close()
	csr, _ := newCSR(s.tb, "ocsp.internal")
	signed, err := certwrightv1.NewCertificateServiceClient(conn).SignCertificate(context.Background(),
		&certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
	check(s.tb, err)
	var pair [2]*x509.Certificate
	for i, text := range []string{signed.Pem, signed.ChainPem} {
		block, _ := pem.Decode([]byte(text))
		pair[i], err = x509.ParseCertificate(block.Bytes)
		check(s.tb, err)
	}
	return pair[0], pair[1]
}

// ask asks n times; the first answer of each connection is verified and good.
func ask(b *testing.B, issuer *x509.Certificate, method, address string, body []byte, n int) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: ocspConnections, MaxConnsPerHost: ocspConnections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range ocspConnections {
		all.Go(func() {
			for first := true; left.Add(-1) >= 0; first = false {
				der, err := exchange(b.Context(), client, method, address, body)
				if err == nil && first {
					var answer *xocsp.Response
					if answer, err = xocsp.ParseResponse(der, issuer); err == nil && answer.Status != xocsp.Good {
						err = fmt.Errorf("status %d", answer.Status)
					}
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// exchange is one question and its answer.
func exchange(ctx context.Context, client *http.Client, method, address string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	der, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || len(der) < 100) {
		err = fmt.Errorf("%s, %d octets", res.Status, len(der))
	}
	return der, err
}
