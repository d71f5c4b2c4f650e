package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/setup"
)

// The times that one HTTP connection may take. A request that drips is cut by
// readTimeout, whatever part of it drips.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 12 * time.Second
	writeTimeout  = time.Minute
	idleTimeout   = 45 * time.Second
	maxHeader     = 32 << 10
	// streamTimeout is for answers that come as a stream.
	streamTimeout = 30 * time.Minute
)

// httpServer is a server with limits; what it has to say of broken connections
// goes to the log's debug level.
func httpServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// Of HTTP/2: a peer that drips does not finish a frame and does not answer.
		HTTP2:    &http.HTTP2Config{SendPingTimeout: grpcQuiet, PingTimeout: grpcSilent, MaxConcurrentStreams: 250},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// tlsConfig is that of every TLS listener: TLS 1.3, or 1.2 with AEAD suites.
// It asks for a client certificate, and requires none.
func tlsConfig(r *rooms, protocols ...string) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all AEAD
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     protocols,
		GetCertificate: r.own.get,
	}
	r.mtls.Request(c)
	return c
}

// serveHTTP serves until ctx ends, and then drains for at most the time of drain.
func serveHTTP(ctx context.Context, s *http.Server, l net.Listener, drain time.Duration) error {
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := s.Shutdown(limit)
		if err != nil {
			err = s.Close() // what has not ended by now is cut
		}
		done <- err
	})
	var err error
	if s.TLSConfig != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if stop() { // Serve ended by itself
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// streams lets an answer that is a stream take longer than others.
func streams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ":verify") {
			// A connection without deadlines keeps the server's own.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamTimeout))
		}
		next.ServeHTTP(w, r)
	})
}

// cutting closes the connection of a peer whose body has not come in time: of
// HTTP/2 the stream alone would end, and the peer could go on.
func cutting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = timedBody{r.Body, w.Header()}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody is a request's body, and the headers of the answer to it.
type timedBody struct {
	io.ReadCloser
	answer http.Header
}

// Read says in the answer that the connection ends, if reading took too long.
func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.answer.Set("Connection", "close")
	}
	return n, err
}

// secured adds the headers that every answer over TLS carries.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// withLedger sends what is under /ledger to the published ledger.
func (s *Server) withLedger(next http.Handler) http.Handler {
	book := s.rooms.api.Published(s.options.Config.Ledger.Access == config.AccessOpen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, api.PublishedPrefix) {
			book.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// published is what relying parties fetch over plain HTTP: CA certificates in DER
// (RFC 5280 §4.2.2.1) and the root's CRL (RFC 5280 §4.2.1.13).
type published struct {
	certificates map[string][]byte // issuer's name → DER
	root, crl    []byte            // DER; crl may be nil
}

func (p published) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+setup.RootURLPath, static("application/pkix-cert", p.root))
	if p.crl != nil {
		mux.Handle("GET "+setup.RootCRLPath, static("application/pkix-crl", p.crl))
	}
	mux.HandleFunc("GET /ca/{file}", func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(r.PathValue("file"), ".crt")
		der, known := p.certificates[name]
		if !ok || !known {
			http.NotFound(w, r)
			return
		}
		static("application/pkix-cert", der).ServeHTTP(w, r)
	})
	return mux
}

// relying serves what relying parties ask. OCSP requests are in the path, where
// no mux may clean them.
func (s *Server) relying(rest http.Handler) http.Handler {
	r, root := s.rooms, http.Handler(nil)
	if s.published.crl != nil {
		root = static("application/pkix-crl", s.published.crl)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch path := req.URL.Path; {
		case path == ocspPath || strings.HasPrefix(path, ocspPath+"/"):
			r.ocsp.ServeHTTP(w, req)
		case path == rootCRLPath && root != nil && !r.crls.Has(path) && (req.Method == http.MethodGet || req.Method == http.MethodHead):
			root.ServeHTTP(w, req)
		case strings.HasPrefix(path, crlPath):
			r.crls.ServeHTTP(w, req)
		default:
			rest.ServeHTTP(w, req)
		}
	})
}

func static(kind string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(body) // the peer may have gone
	})
}
