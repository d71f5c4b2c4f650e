package api_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// verification is V: the CPU time of one P-256 verification.
func verification(b *testing.B, w *world) time.Duration {
	key := w.key().(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte("V"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	w.must(err)
	begin := cpu()
	for range 500 {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("a signature that does not hold")
		}
	}
	return (cpu() - begin) / 500
}

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkSign issues through each door, with 64 requests in flight: REST and
// gRPC without a client (the handler alone), gRPC over a socket with it. The unit
// V/op is CPU time of the whole process.
func BenchmarkSign(b *testing.B) {
	w := newWorld(b)
	_, secret := w.token(10000)
	handler, err := w.server.Handler()
	w.must(err)
	csr := w.csr("a.team-a.internal")
	body, err := json.Marshal(map[string]string{"csr": csr, "profile": "server"})
	w.must(err)
	v := verification(b, w)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	for _, door := range []struct {
		name string
		sign func() bool
	}{
		{"REST handler", func() bool {
			r, err := http.NewRequestWithContext(b.Context(), "POST", "/v1/certificates:sign", strings.NewReader(string(body)))
			if err != nil {
				return false
			}
			r.Header.Set("Authorization", "Bearer "+secret)
			answer := &recorder{header: http.Header{}, code: 200}
			handler.ServeHTTP(answer, r)
			return answer.code == 200
		}},
		{"gRPC over TLS with client", func() bool {
			_, err := client.SignCertificate(bearer(b.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"}, grpc.WaitForReady(true))
			return err == nil
		}},
	} {
		b.Run(door.name, func(b *testing.B) {
			b.SetParallelism(32)
			begin := cpu()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if !door.sign() {
						b.Error("not issued")
						return
					}
				}
			})
			b.ReportMetric(float64(cpu()-begin)/float64(b.N)/float64(v), "V/op")
		})
	}
}
