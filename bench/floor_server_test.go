package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	xocsp "golang.org/x/crypto/ocsp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// floorConfig is what the floor's process is told, as JSON in the environment variable
// floorVariable.
type floorConfig struct {
	Data, HTTPS, GRPC, HTTP, Metrics string
	Resolver, Web                    string // where names are asked and proofs fetched, address:port
	Account                          []byte // P-256, uncompressed: whose signatures requests carry
}

const floorVariable = "CERTWRIGHT_BENCH_FLOOR"

// floor does of each operation what no server can leave out, and nothing else: TLS
// and HTTP of the standard library, the signatures, a draft, its lints and its
// verification, the questions of a validation, records in a file that is synced
// before the answer. No policy, no ledger, no limits, no parsing of a request beyond
// what the signatures need. What it costs is what there is to reach.
type floor struct {
	certwrightv1.UnimplementedCertificateServiceServer

	floorConfig
	account *ecdsa.PublicKey
	key     *ecdsa.PrivateKey // of the issuing CA
	issuer  *x509cert.Issuer
	linter  *x509cert.Linter
	records chan chan<- error
	fsyncs  atomic.Int64
	nonce   atomic.Int64
}

// serveFloor is the floor's process: it ends by SIGTERM.
func serveFloor(config string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	f := &floor{records: make(chan chan<- error, 1024)}
	if err := json.Unmarshal([]byte(config), &f.floorConfig); err != nil {
		return err
	}
	debug.SetGCPercent(400) // as the server's
	cert, err := f.establish()
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(f.Data, "records"))
	if err != nil {
		return err
	}
	settings := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	rpc := grpc.NewServer(grpc.Creds(credentials.NewTLS(settings)))
	certwrightv1.RegisterCertificateServiceServer(rpc, f)
	doors, err := net.Listen("tcp", f.GRPC)
	if err != nil {
		return err
	}
	ended := make(chan error, 4)
	go func() { ended <- f.write(file) }()
	go func() { ended <- rpc.Serve(doors) }()
	handler := f.handler()
	for _, address := range []string{f.HTTP, f.Metrics} {
		go func() {
			ended <- (&http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: time.Minute}).ListenAndServe()
		}()
	}
	go func() {
		settings := settings.Clone()
		settings.NextProtos = []string{"http/1.1"}
		ended <- (&http.Server{Addr: f.HTTPS, Handler: handler, ReadHeaderTimeout: time.Minute, TLSConfig: settings}).ListenAndServeTLS("", "")
	}()
	select {
	case err := <-ended:
		return err
	case <-term:
		return nil
	}
}

// establish makes the CA and the server's own certificate, for localhost.
func (f *floor) establish() (tls.Certificate, error) {
	var err error
	if f.account, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), f.Account); err != nil {
		return tls.Certificate{}, err
	}
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return tls.Certificate{}, err
	}
	root, err := x509cert.Root(x509cert.CAConfig{
		CommonName: "Floor", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), MaxPathLen: 1,
	}, f.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if f.issuer, err = x509cert.NewIssuer(root, f.key); err != nil {
		return tls.Certificate{}, err
	}
	if f.linter, err = x509cert.NewLinter(); err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	if err := os.WriteFile(filepath.Join(f.Data, "root.crt"), text, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := f.certify(own.Public(), []identity.Identifier{{Type: identity.DNS, Value: "localhost"}, {Type: identity.IP, Value: "127.0.0.1"}})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}, err
}

// certify drafts, lints, signs and verifies.
func (f *floor) certify(public any, names []identity.Identifier) ([]byte, error) {
	now := time.Now().Truncate(time.Second)
	want := x509cert.Want{
		Request: identity.Request{Kind: identity.X509, Profile: "server", Identifiers: names, PublicKey: public},
		Decision: policy.Decision{
			Profile: policy.Profile{
				Name: "server", Kind: identity.X509, Issuer: "issuing", KeyUsage: []string{"digital_signature"},
				ExtKeyUsage: []string{"server_auth"}, Lints: []string{x509cert.LintRFC5280, x509cert.LintCertwright},
				Validity: policy.Validity{Max: policy.Duration(time.Hour)},
			},
			NotBefore: now, NotAfter: now.Add(time.Hour - time.Second),
		},
		Serial: identity.NewSerial(now), Issuer: f.issuer,
		URLs: x509cert.URLs{OCSP: "http://localhost/ocsp", CAIssuers: "http://localhost/issuer.crt", CRL: "http://localhost/crl"},
	}
	tbs, err := x509cert.Draft(want)
	if err != nil {
		return nil, err
	}
	checked, err := f.linter.Check(tbs, want)
	if err != nil {
		return nil, err
	}
	der, err := checked.Sign()
	if err != nil {
		return nil, err
	}
	return der, checked.Verify(der)
}

// issue is a certificate for a CSR (DER or PEM), kept before it is signed and
// before it is answered; PEM.
func (f *floor) issue(data []byte) ([]byte, error) {
	csr, err := x509cert.ParseCSR(data) // with its proof of possession
	if err != nil {
		return nil, err
	}
	if err := f.keep(); err != nil {
		return nil, err
	}
	der, err := f.certify(csr.PublicKey, csr.Identifiers)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), f.keep()
}

func (f *floor) SignCertificate(_ context.Context, r *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	text, err := f.issue([]byte(r.Csr))
	return &certwrightv1.Certificate{Pem: string(text)}, err
}

// keep has a record written, and waits until it is on disk.
func (f *floor) keep() error {
	done := make(chan error, 1)
	f.records <- done
	return <-done
}

// write writes records of 700 octets: those of 20 ms together, as the server's store
// waits for company.
func (f *floor) write(file *os.File) error {
	for first := range f.records {
		waiting := []chan<- error{first}
		for full := time.After(20 * time.Millisecond); full != nil; {
			select {
			case next := <-f.records:
				waiting = append(waiting, next)
			case <-full:
				full = nil
			}
		}
		_, err := file.Write(make([]byte, 700*len(waiting)))
		if err == nil {
			err = syscall.Fdatasync(int(file.Fd()))
		}
		f.fsyncs.Add(1)
		for _, done := range waiting {
			done <- err
		}
	}
	return nil
}

func (f *floor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "certwright_storage_fsyncs_total %d\n", f.fsyncs.Load())
	})
	mux.HandleFunc("POST /v1/certificates:sign", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ CSR string }
		err := json.NewDecoder(r.Body).Decode(&body)
		var text []byte
		if err == nil {
			text, err = f.issue([]byte(body.CSR))
		}
		respond(w, text, err)
	})
	for path, do := range map[string]func(body []byte) ([]byte, error){
		"/order":     func([]byte) ([]byte, error) { return nil, f.keep() },
		"/read":      func([]byte) ([]byte, error) { return nil, nil },
		"/challenge": func([]byte) ([]byte, error) { return nil, errors.Join(f.validate(), f.keep()) },
		"/finalize":  f.issue,
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := f.signed(r)
			if err == nil {
				body, err = do(body)
			}
			w.Header().Set("Replay-Nonce", fmt.Sprint(f.nonce.Add(1)))
			respond(w, body, err)
		})
	}
	cached := sync.OnceValues(f.answer)
	mux.HandleFunc("POST /ocsp", func(w http.ResponseWriter, r *http.Request) {
		answer := cached
		if r.URL.RawQuery == "now" {
			answer = f.answer
		}
		_, err := io.ReadAll(r.Body)
		der, bad := answer()
		respond(w, der, errors.Join(err, bad))
	})
	return mux
}

// signed is a request's body, if its signature verifies.
func (f *floor) signed(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(r.Header.Get("Signature"))
	if err != nil {
		return nil, err
	}
	if digest := sha256.Sum256(body); !ecdsa.VerifyASN1(f.account, digest[:], signature) {
		return nil, errors.New("the signature does not verify")
	}
	return body, nil
}

// validate asks for a name's addresses and fetches its proof over a connection of
// its own (RFC 8555 §8.3).
func (f *floor) validate() error {
	questions, err := net.Dial("udp", f.Resolver)
	if err != nil {
		return err
	}
	defer questions.Close()
	conn := &dns.Conn{Conn: questions}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(floorName+".", kind)); err != nil {
			return err
		}
	}
	for range 2 {
		if _, err := conn.ReadMsg(); err != nil {
			return err
		}
	}
	web, err := net.Dial("tcp", f.Web)
	if err != nil {
		return err
	}
	defer web.Close()
	if _, err := io.WriteString(web, "GET /.well-known/acme-challenge/floor HTTP/1.1\r\nHost: "+floorName+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(web), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.ReadAll(answer.Body)
	return err
}

// answer is an OCSP response, signed now (RFC 6960).
func (f *floor) answer() ([]byte, error) {
	now := time.Now().Truncate(time.Minute)
	return xocsp.CreateResponse(f.issuer.Certificate(), f.issuer.Certificate(), xocsp.Response{
		Status: xocsp.Good, SerialNumber: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
	}, f.key)
}

// respond answers with body, or with as many octets as an order has.
func respond(w http.ResponseWriter, body []byte, err error) {
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case body == nil:
		_, _ = w.Write(make([]byte, 500))
	default:
		_, _ = w.Write(body)
	}
}
