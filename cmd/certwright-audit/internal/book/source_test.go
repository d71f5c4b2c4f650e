package book_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

// TestHTTP asks servers that answer in all sorts of ways.
func TestHTTP(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/ledger/gone":
			w.WriteHeader(http.StatusNotFound)
		case "/ledger/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/ledger/moved":
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		case "/ledger/endless":
			for {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		case "/ledger/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00broken"))
		default:
			_, _ = io.WriteString(w, "hello")
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	source, err := book.NewHTTP(book.HTTPConfig{URL: server.URL + "/ledger/", Roots: roots, Bearer: "secret", Tries: 1})
	check(t, err)
	read := func(s book.Source, name string) error {
		_, err := s.Read(t.Context(), name, 5)
		return err
	}
	if err := read(source, "fine"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]error{"gone": fs.ErrNotExist, "broken": book.ErrUnavailable, "moved": nil, "endless": nil, "bomb": nil} {
		if err := read(source, name); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stranger, err := book.NewHTTP(book.HTTPConfig{URL: server.URL + "/ledger", Roots: roots, Tries: 1})
	check(t, err)
	if err := read(stranger, "fine"); !errors.Is(err, book.ErrRefused) {
		t.Errorf("without a token: %v", err)
	}
	before := asked.Load()
	untrusted, err := book.NewHTTP(book.HTTPConfig{URL: server.URL, Bearer: "secret", Tries: 1})
	check(t, err)
	if err := read(untrusted, "fine"); !errors.Is(err, book.ErrUnavailable) || asked.Load() != before {
		t.Errorf("with a certificate that is not trusted: %v", err)
	}
	for _, bad := range []book.HTTPConfig{
		{URL: "ftp://x"}, {URL: "https://"}, {URL: "https://a:b@x"}, {URL: "https://x?y"}, {URL: ":"}, {URL: "http://x", Bearer: "secret"},
	} {
		if _, err := book.NewHTTP(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestRetry waits before it asks again. It has no real network: the waiting is what is
// shown.
func TestRetry(t *testing.T) {
	listener := httptest.NewServer(http.NotFoundHandler())
	url := listener.URL
	listener.Close()
	synctest.Test(t, func(t *testing.T) {
		source, err := book.NewHTTP(book.HTTPConfig{URL: url, Tries: 3})
		check(t, err)
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := source.Read(ctx, "checkpoint", 1); !errors.Is(err, book.ErrUnavailable) {
			t.Errorf("nobody listens: %v", err)
		}
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("it waited %s between three tries", waited)
		}
	})
}

func TestFolderNames(t *testing.T) {
	for _, name := range []string{"../x", "/etc/passwd", "tile/../../x"} {
		if _, err := book.Folder(t.TempDir()).Read(t.Context(), name, 1); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	check(f, err)
	signer, err := note.NewSigner(skey)
	check(f, err)
	key, err := book.ParseKey(vkey)
	check(f, err)
	signed, err := audittest.Sign(signer, 7, [32]byte{1})
	check(f, err)
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	f.Add(signed)
	f.Add([]byte("ca.example/ledger\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— ca.example/ledger AAAAAA==\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if cp, err := book.Peek(data); err == nil && (cp.Origin == "" || strings.Contains(cp.Origin, "\n")) {
			t.Fatalf("origin %q", cp.Origin)
		}
		cp, err := book.Open(data, []book.Key{key})
		if err == nil && !bytes.HasPrefix(data, text) {
			t.Fatalf("a checkpoint that the log never signed was taken: %v", cp)
		}
	})
}
