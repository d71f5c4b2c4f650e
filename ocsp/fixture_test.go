package ocsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/storagetest"
)

// town is a responder over a real store, with one certificate in each state.
type town struct {
	*Responder
	store  *bolt.Store
	issuer *authority
	leaves map[string]storagetest.Issuance
	issued atomic.Int64 // responder certificates
}

// authority is an issuer with a key of any algorithm.
type authority struct {
	*storagetest.Issuer // makes the rows of the store
	cert                *x509.Certificate
	key                 crypto.Signer
}

func newKey(t testing.TB, algorithm string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "rsa-2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa-p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, algorithm, name string) *authority {
	t.Helper()
	key := newKey(t, algorithm)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{Issuer: storagetest.NewIssuer(t), key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if a.ID, err = identity.KeyIDOf(key.Public()); err != nil {
		t.Fatal(err)
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok { // then the leaves are its own
		a.Certificate, a.Key = a.cert, ec
	}
	return a
}

// delegate certifies a responder's key as the authority's door does.
func (a *authority) delegate(req identity.Request, life time.Duration) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: identity.NewSerial(time.Now()).Big(), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidNoCheck, Value: null}}, BasicConstraintsValid: true,
	}
	for _, n := range req.Identifiers {
		template.DNSNames = append(template.DNSNames, n.Value)
	}
	return x509.CreateCertificate(rand.Reader, template, a.cert, req.PublicKey, a.key)
}

func openStore(t testing.TB) *bolt.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func commit(t testing.TB, store *bolt.Store, unit ...storage.Command) storage.Receipt {
	t.Helper()
	receipt, err := store.Commit(t.Context(), unit)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// foundBy opens a town whose answers are signed by a delegated certificate, by
// the issuer's own key, or by that as a stand-in while none can be had.
func foundBy(t testing.TB, algorithm, way string) *town {
	t.Helper()
	is := newAuthority(t, algorithm, "Town Issuing CA")
	var closed atomic.Bool
	tn := found(t, algorithm, func(c *Config) {
		c.Issuers = []IssuerConfig{{Name: "issuing", Certificate: is.cert, Profile: "ocsp-responder"}}
		c.Issue = func(_ context.Context, req identity.Request) ([]byte, error) {
			if closed.Load() {
				return nil, errors.New("read-only")
			}
			return is.delegate(req, 72*time.Hour)
		}
		switch way {
		case "own":
			c.Issue, c.Issuers[0].Signer = nil, is.key
		case "stand-in":
			c.Issuers[0].Signer = is.key
			closed.Store(true)
		}
	})
	tn.issuer = is
	return tn
}

// found opens a town. change may alter the configuration.
func found(t testing.TB, algorithm string, change func(*Config)) *town {
	t.Helper()
	tn := &town{store: openStore(t), issuer: newAuthority(t, algorithm, "Town Issuing CA"), leaves: map[string]storagetest.Issuance{}}
	cfg := Config{
		Store: tn.store, Names: storagetest.DNS("ca.internal"), Logger: slog.New(slog.DiscardHandler),
		Issuers: []IssuerConfig{{Name: "issuing", Certificate: tn.issuer.cert, Profile: "ocsp-responder"}},
		Issue: func(_ context.Context, req identity.Request) ([]byte, error) {
			tn.issued.Add(1)
			return tn.issuer.delegate(req, 72*time.Hour)
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if tn.Responder, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := tn.Renew(t.Context()); err != nil && cfg.Issuers[0].Signer == nil {
		t.Fatal(err)
	}
	return tn
}

// populate puts one certificate of each state into the ledger.
func (tn *town) populate(t testing.TB) *town {
	t.Helper()
	for _, name := range []string{"good", "revoked", "unspecified", "reserved", "reserved-revoked", "abandoned", "abandoned-revoked"} {
		leaf := tn.issuer.Issue(t, storagetest.Spec{})
		tn.leaves[name] = leaf
		index := commit(t, tn.store, leaf.Reserve).Indexes[0]
		switch state, _, _ := strings.Cut(name, "-"); state {
		case "good", "revoked", "unspecified":
			commit(t, tn.store, leaf.Complete)
		case "abandoned":
			commit(t, tn.store, leaf.Abandon(t, index))
		}
		switch {
		case strings.HasSuffix(name, "revoked"):
			commit(t, tn.store, leaf.Revoke(t, identity.KeyCompromise))
		case name == "unspecified":
			commit(t, tn.store, leaf.Revoke(t, identity.Unspecified))
		}
	}
	return tn
}

// issue puts a good certificate into the ledger.
func (tn *town) issueLeaf(t testing.TB) storagetest.Issuance {
	t.Helper()
	leaf := tn.issuer.Issue(t, storagetest.Spec{})
	commit(t, tn.store, leaf.Reserve)
	commit(t, tn.store, leaf.Complete)
	return leaf
}

// question is the request for a serial as x/crypto makes it.
func (tn *town) question(t testing.TB, serial *big.Int, hash crypto.Hash) []byte {
	t.Helper()
	der, err := xocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, tn.issuer.cert, &xocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// post asks the handler.
func (r *Responder) postForTest(der []byte) *httptest.ResponseRecorder {
	return r.postFrom("192.0.2.1:1234", der)
}

func (r *Responder) postFrom(remote string, der []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/ocsp", strings.NewReader(string(der)))
	req.RemoteAddr = remote
	req.Header.Set("Content-Type", "application/ocsp-request")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// ask is the verified answer for one serial.
func (tn *town) ask(t testing.TB, serial *big.Int) *xocsp.Response {
	t.Helper()
	w := tn.postForTest(tn.question(t, serial, crypto.SHA1))
	res, err := xocsp.ParseResponseForCert(w.Body.Bytes(), &x509.Certificate{SerialNumber: serial}, tn.issuer.cert)
	if err != nil {
		t.Fatalf("answer: %v", err)
	}
	return res
}

func serialOf(l storagetest.Issuance) identity.Serial { return l.Reserve.Serial }

// outage makes a Store fail or wait; without either it is the real one.
type outage struct {
	Store
	err  atomic.Pointer[error]
	gate atomic.Pointer[chan struct{}]
	came chan struct{} // one element for each read that waits
}

func (o *outage) BySerial(ctx context.Context, issuer identity.KeyID, serial identity.Serial) (storage.Certificate, error) {
	if err := o.err.Load(); err != nil {
		return storage.Certificate{}, *err
	}
	cert, err := o.Store.BySerial(ctx, issuer, serial)
	if gate := o.gate.Load(); gate != nil {
		o.came <- struct{}{}
		<-*gate
	}
	return cert, err
}
