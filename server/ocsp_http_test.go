package server

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestOCSPStatuses: the HTTP statuses of docs/ocsp.md, as octets on the wire get
// them from the whole server. Whatever comes, no answer is good.
func TestOCSPStatuses(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	const host = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	post := func(header, body string) string { return "POST /ocsp" + host + header + "\r\n" + body }
	for name, test := range map[string]struct {
		sent   string
		status int
	}{
		"a bad escape":          {"GET /ocsp/%zz" + host + "\r\n", 400},
		"no HTTP":               {"\x30\x03\x0a\x01\x01\r\n\r\n", 400},
		"two lengths":           {post("Content-Length: 1\r\nContent-Length: 2\r\n", "0"), 400},
		"much header":           {"GET /ocsp/" + host + "X: " + strings.Repeat("a", maxHeader+8192) + "\r\n\r\n", 431},
		"a long path":           {"GET /ocsp/" + strings.Repeat("A", 8000) + host + "\r\n", 414},
		"another path":          {"GET /ocsp.der" + host + "\r\n", 404},
		"another method":        {"DELETE /ocsp" + host + "\r\n", 405},
		"another content type":  {post("Content-Type: text/plain\r\nContent-Length: 1\r\n", "0"), 415},
		"a large body":          {post("Content-Type: application/ocsp-request\r\nContent-Length: 1000000\r\n", "0"), 413},
		"garbage":               {post("Content-Type: application/ocsp-request\r\nContent-Length: 5\r\n", "\x30\x80\x00\x00\xff"), 200},
		"garbage by GET":        {"GET /ocsp//" + base64.StdEncoding.EncodeToString([]byte("\xff\xfb\xef+//")) + host + "\r\n", 200},
		"nothing at all":        {post("Content-Type: application/ocsp-request\r\nContent-Length: 0\r\n", ""), 200},
		"a body that ends soon": {post("Content-Type: application/ocsp-request\r\nTransfer-Encoding: chunked\r\n", "zz\r\n"), 408},
	} {
		conn, err := net.Dial("tcp", r.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, test.sent) // the server may close before it has all
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			_ = conn.Close()
			continue
		}
		body, _ := io.ReadAll(answer.Body) // cut short with the connection, where that is closed
		if answer.StatusCode != test.status {
			t.Errorf("%s: %s\n%q", name, answer.Status, body)
		}
		if test.status == 200 && string(body) != "\x30\x03\x0a\x01\x01" {
			t.Errorf("%s: not malformedRequest: %x", name, body)
		}
		_ = answer.Body.Close()
		_ = conn.Close()
	}
}
