package server

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestDripIsCut: whatever a peer sends byte by byte, its connection is cut within
// 15 s. The cases run side by side, in real time.
func TestDripIsCut(t *testing.T) {
	t.Parallel()
	r := start(t, load(t, t.TempDir(), true))
	const (
		head = "GET /v1/certificates HTTP/1.1\r\nHost: localhost\r\nX-Drip: "
		post = "POST /v1/certificates:sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n" +
			"Content-Type: application/json\r\n\r\n"
		ocsp = "POST /ocsp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n" +
			"Content-Type: application/ocsp-request\r\n\r\n"
		order = "POST /acme/new-order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n" +
			"Content-Type: application/jose+json\r\n\r\n{\"protected\":\""
		preface = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // and empty SETTINGS
		frame   = "\x00\xff\xff\x00\x00\x00\x00\x00\x01"                       // the head of a frame of 65,535 bytes
	)
	var wait sync.WaitGroup
	defer wait.Wait()
	for _, test := range []struct {
		name, address, protocol, first string
		drip                           func(i int) string
	}{
		{"header over TLS", r.HTTPS, "http/1.1", head, nil},
		{"body over TLS", r.HTTPS, "http/1.1", post, nil},
		{"ACME request", r.HTTPS, "http/1.1", order, nil},
		{"ACME request in HTTP/2", r.HTTPS, "h2", preface + headers(t, "/acme/new-order", "application/jose+json"), func(int) string {
			return "\x00\x00\x01\x00\x00\x00\x00\x00\x01{" // DATA of one byte
		}},
		{"header", r.HTTP, "", head, nil},
		{"OCSP request", r.HTTP, "", ocsp, nil},
		{"path of an OCSP request", r.HTTP, "", "GET /ocsp/", nil},
		{"header to metrics", r.Metrics, "", head, nil},
		{"TLS handshake", r.HTTPS, "", "\x16\x03\x01\x02\x00", nil},
		{"TLS handshake with gRPC", r.GRPC, "", "\x16\x03\x01\x02\x00", nil},
		{"HTTP/2 preface", r.HTTPS, "h2", "PRI * ", nil},
		{"HTTP/2 preface with gRPC", r.GRPC, "h2", "PRI * ", nil},
		{"HTTP/2 frame", r.HTTPS, "h2", preface + frame, nil},
		{"HTTP/2 frame with gRPC", r.GRPC, "h2", preface + frame, nil},
		{"message with gRPC", r.GRPC, "h2", preface + signHeaders(t), func(i int) string {
			if i == 0 {
				return "\x00\x00\x05\x00\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff" // DATA: a message of 65,535 bytes begins
			}
			return "\x00\x00\x01\x00\x00\x00\x00\x00\x01\x0a" // DATA of one byte
		}},
	} {
		wait.Go(func() {
			if err := dripOn(r, test.address, test.protocol, test.first, test.drip); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		})
	}
}

// dripOn sends first, then drips, until the server cuts the connection.
func dripOn(r *running, address, protocol, first string, drip func(i int) string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if protocol != "" {
		conn = tls.Client(conn, &tls.Config{RootCAs: r.roots(), ServerName: "localhost", NextProtos: []string{protocol}})
	}
	began := time.Now()
	if _, err := io.WriteString(conn, first); err != nil {
		return err
	}
	cut := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn) // an answer may come before the end
		close(cut)
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; time.Since(began) < 15*time.Second; i++ {
		text := "a"
		if drip != nil {
			text = drip(i)
		}
		_, _ = io.WriteString(conn, text) // fails once the server has closed
		select {
		case <-cut:
			return nil
		case <-tick.C:
		}
	}
	return errors.New("not cut within 15 s")
}

// signHeaders is a HEADERS frame that begins a call with a token that looks like
// one.
func signHeaders(t *testing.T) string {
	t.Helper()
	token := "cwt_" + base64.RawURLEncoding.EncodeToString(make([]byte, 48))
	return headers(t, "/grpc.health.v1.Health/Check", "application/grpc", [2]string{"te", "trailers"}, [2]string{"authorization", "Bearer " + token})
}

// headers is a HEADERS frame that begins a POST.
func headers(t *testing.T, path, kind string, more ...[2]string) string {
	t.Helper()
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range append([][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "localhost"}, {"content-type", kind},
	}, more...) {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	var frames strings.Builder
	err := http2.NewFramer(&frames, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	return frames.String()
}
