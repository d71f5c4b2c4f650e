package ocsp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// verifyTime is V: what one ECDSA P-256 verification costs here and now.
func verifyTime(b *testing.B) time.Duration {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("v"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	const n = 2000
	before := cpu(b)
	for range n {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("signature")
		}
	}
	return (cpu(b) - before) / n
}

// cpu is the process's time on the CPUs.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// report gives the CPU per operation in V.
func report(b *testing.B, used time.Duration, v time.Duration) {
	b.ReportMetric(float64(used)/float64(b.N)/float64(v), "V/op")
}

func benchmarkHandler(b *testing.B, fresh bool) {
	tn := found(b, "ecdsa-p256", nil)
	leaf := tn.issueLeaf(b)
	question := tn.question(b, serialOf(leaf).Big(), crypto.SHA1)
	get := httptest.NewRequest(http.MethodGet, "/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(question)), nil)
	w := &sink{http.Header{}}
	tn.ServeHTTP(w, get)
	v := verifyTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for b.Loop() {
		if fresh {
			tn.Changed(tn.issuer.ID, serialOf(leaf))
		}
		clear(w.header)
		tn.ServeHTTP(w, get)
	}
	report(b, cpu(b)-before, v)
}

func BenchmarkHandlerCached(b *testing.B) { benchmarkHandler(b, false) }
func BenchmarkHandlerSigned(b *testing.B) { benchmarkHandler(b, true) }

// benchmarkHTTP is with 16 connections over loopback. The client is in the
// process: V/op is that of both; client-V/op is what the same client costs with
// a server that does nothing.
func benchmarkHTTP(b *testing.B, fresh bool) {
	tn := found(b, "ecdsa-p256", nil)
	leaf := tn.issueLeaf(b)
	question := tn.question(b, serialOf(leaf).Big(), crypto.SHA1)
	srv := httptest.NewServer(tn)
	defer srv.Close()
	v := verifyTime(b)
	b.ResetTimer()
	before := cpu(b)
	flood(b, srv.URL, question, func() {
		if fresh {
			tn.Changed(tn.issuer.ID, serialOf(leaf))
		}
	})
	report(b, cpu(b)-before, v)
	if s := tn.Stats(); s.Good < uint64(b.N) || s.TryLater+s.InternalError > 0 {
		b.Fatalf("%+v", s)
	}
}

// flood asks b.N times over 16 connections, GET and POST by turns.
func flood(b *testing.B, base string, question []byte, each func()) {
	b.Helper()
	get := base + "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(question))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				each()
				var res *http.Response
				var err error
				if n%2 == 0 {
					res, err = client.Get(get)
				} else {
					res, err = client.Post(base+"/ocsp", "application/ocsp-request", bytes.NewReader(question))
				}
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkHTTPCached(b *testing.B) { benchmarkHTTP(b, false) }
func BenchmarkHTTPSigned(b *testing.B) { benchmarkHTTP(b, true) }
