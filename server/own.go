package server

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
)

// serverProfile is the profile of the server's own certificate.
const serverProfile = "server"

// serverPrincipal is the server as it asks for its own certificate.
func serverPrincipal() identity.Principal {
	return identity.Principal{Method: identity.System, ID: "server"}
}

// issuer is the one door.
type issuer interface {
	Issue(ctx context.Context, req identity.Request, attach ca.Attach) (ca.Issued, error)
}

// ownCertificate is the server's own TLS certificate: issued by its own CA
// through the one door, renewed at two thirds of its life.
type ownCertificate struct {
	issuer issuer
	store  storage.CertificateReader
	signer crypto.Signer
	names  []identity.Identifier
	chains map[identity.KeyID][][]byte // of each issuer, DER, for a certificate that is used again
	// staple is ocsp.Responder's; nil: nothing is stapled.
	staple func(ctx context.Context, issuer identity.KeyID, serial identity.Serial) ([]byte, time.Time, error)
	// rekey makes another key for the server; nil: there is only the one.
	rekey   func(ctx context.Context) (crypto.Signer, error)
	keyIDs  map[string]identity.KeyID // of each issuer, by its subject key identifier
	root    []byte                    // DER; shown too, for clients that know its fingerprint only
	now     func() time.Time
	logger  *slog.Logger
	current atomic.Pointer[tls.Certificate]
	revoked chan struct{} // receives when the certificate in use was revoked
	renewed chan struct{} // receives after each renewal; for tests
}

// retryOwn is how long the server waits after a renewal that failed.
const retryOwn = time.Minute

// get is for tls.Config.GetCertificate.
func (o *ownCertificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := o.current.Load()
	if cert == nil {
		return nil, errors.New("the server has no certificate yet")
	}
	ctx, cancel := context.WithTimeout(hello.Context(), stapleTimeout)
	defer cancel()
	with := *cert
	with.OCSPStaple = o.stapled(ctx, cert.Leaf)
	return &with, nil
}

// stapleTimeout is how long a handshake waits for its staple, which mostly is at
// hand.
const stapleTimeout = 200 * time.Millisecond

// stapled is the OCSP answer for the certificate; nil if there is none in time: a
// client that needs it asks itself.
func (o *ownCertificate) stapled(ctx context.Context, leaf *x509.Certificate) []byte {
	issuer, known := o.keyIDs[string(leaf.AuthorityKeyId)]
	serial, err := identity.SerialFromBig(leaf.SerialNumber)
	if err != nil || !known || o.staple == nil {
		return nil
	}
	body, _, err := o.staple(ctx, issuer, serial)
	if err != nil {
		return nil
	}
	return body
}

// start takes up the certificate of an earlier run, or has one issued. If that
// fails, one that is due or has expired serves on: OCSP, CRLs and the admin socket
// must not wait for a disk that is full, and run tries again.
func (o *ownCertificate) start(ctx context.Context) error {
	earlier := o.earlier(ctx)
	if earlier != nil {
		o.current.Store(earlier)
		if renewAt(earlier.Leaf.NotBefore, earlier.Leaf.NotAfter).After(o.now()) {
			return nil
		}
	}
	err := o.renew(ctx)
	if err == nil || earlier == nil || ctx.Err() != nil {
		return err
	}
	o.logger.ErrorContext(ctx, "the server's own certificate was not renewed: an earlier one serves on",
		slog.Any("error", err), slog.Time("not_after", earlier.Leaf.NotAfter))
	return nil
}

// earlier is the newest certificate for this key and these names; nil if there is
// none.
func (o *ownCertificate) earlier(ctx context.Context) *tls.Certificate {
	spki, err := identity.KeyIDOf(o.signer.Public())
	if err != nil {
		return nil
	}
	page, err := o.store.Certificates(ctx, storage.Query{Order: storage.BySPKI, Value: spki.String(), Descending: true, Limit: 20})
	if err != nil {
		return nil
	}
	for _, c := range page.Certificates {
		chain, known := o.chains[c.Issuer]
		if !known || c.State != storage.Issued || c.Revocation != nil || !slices.Equal(c.Names, o.names) {
			continue
		}
		if cert, err := o.certificate(c.DER, chain); err == nil {
			return cert
		}
	}
	return nil
}

// renew has a certificate issued and puts it in place. A key that is blocked,
// because one of its certificates was revoked as compromised, is replaced first.
func (o *ownCertificate) renew(ctx context.Context) error {
	err := o.obtain(ctx)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code() != "BLOCKED_KEY" || o.rekey == nil {
		return err
	}
	signer, err := o.rekey(ctx)
	if err != nil {
		return fmt.Errorf("the server's own key is compromised, and there is no other: %w", err)
	}
	o.logger.WarnContext(ctx, "the server's own key was compromised: it has another one")
	o.signer = signer
	return o.obtain(ctx)
}

func (o *ownCertificate) obtain(ctx context.Context) error {
	issued, err := o.issuer.Issue(ctx, identity.Request{
		Kind: identity.X509, Profile: serverProfile, Principal: serverPrincipal(), Identifiers: o.names, PublicKey: o.signer.Public(),
	}, ca.Attach{})
	if err != nil {
		return fmt.Errorf("the server's own certificate: %w", err)
	}
	cert, err := o.certificate(issued.Certificate.DER, issued.Chain)
	if err != nil {
		return fmt.Errorf("the server's own certificate: %w", err)
	}
	o.current.Store(cert)
	o.logger.InfoContext(ctx, "the server's own certificate was issued", slog.String("serial", issued.Certificate.Serial.String()),
		slog.Time("not_after", issued.Certificate.NotAfter))
	return nil
}

func (o *ownCertificate) certificate(der []byte, chain [][]byte) (*tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: slices.Concat([][]byte{der}, chain, [][]byte{o.root}), PrivateKey: o.signer, Leaf: leaf}, nil
}

// renewAt is when a certificate is two thirds through its life.
func renewAt(notBefore, notAfter time.Time) time.Time {
	return notBefore.Add(notAfter.Sub(notBefore) * 2 / 3)
}

// lost hears of a revocation, and has another certificate issued if it is of the
// one in use, or blocks its key.
func (o *ownCertificate) lost(c ca.Change) {
	cert := o.current.Load()
	if cert == nil {
		return
	}
	key, err := identity.KeyIDOf(cert.Leaf.PublicKey)
	if cert.Leaf.SerialNumber.Cmp(c.Serial.Big()) != 0 && (err != nil || key != c.Blocked) {
		return
	}
	select {
	case o.revoked <- struct{}{}:
	default:
	}
}

// run renews until ctx ends. A renewal that fails is logged and tried again.
func (o *ownCertificate) run(ctx context.Context) error {
	var dead *x509.Certificate
	for {
		leaf := o.current.Load().Leaf
		wait := renewAt(leaf.NotBefore, leaf.NotAfter).Sub(o.now())
		if wait <= 0 || dead == leaf {
			wait = retryOwn + rand.N(retryOwn/4) //nolint:gosec // jitter is no secret
			err := o.renew(ctx)
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the server ends
			}
			if err == nil {
				o.tell()
				continue
			}
			o.logger.ErrorContext(ctx, "the server's own certificate was not renewed",
				slog.Any("error", err), slog.Time("not_after", leaf.NotAfter), slog.Duration("again_in", wait))
		}
		// The wall clock may be set while the timer, which does not follow it, runs.
		timer := time.NewTimer(min(wait, time.Hour))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-o.revoked:
			timer.Stop()
			dead = leaf
		case <-timer.C:
		}
	}
}

func (o *ownCertificate) tell() {
	select {
	case o.renewed <- struct{}{}:
	default:
	}
}

// newServerKey puts another key in the place of the server's own, which stays
// beside it under another name.
func newServerKey(ctx context.Context, c *config.Config) (crypto.Signer, error) {
	path := filepath.Join(c.Data, datadir.ServerKey)
	next, old := path+".new", path+".compromised"
	for _, left := range []string{next, old} { // by a change that was killed
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	signer, err := keys.Create(ctx, keys.Config{URI: "file:" + datadir.ServerKey + ".new", Dir: c.Data, Passphrase: c.Passphrase()}, keys.ECDSAP256)
	if err != nil {
		return nil, err
	}
	if err := os.Link(path, old); err != nil {
		return nil, err
	}
	return signer, os.Rename(next, path) // there is a key at every moment
}
