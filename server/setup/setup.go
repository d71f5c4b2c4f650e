// Package setup makes a new CA: Dev at the first start with --dev, Init as a
// ceremony for production. Both fill a data folder that is there whole or not at
// all.
package setup

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// backdate is how long before its making a CA certificate begins, for clocks that
// are behind and for leaves that are backdated.
const backdate = time.Hour

// authority is what is made: two CAs, the keys, the book's first entries.
type authority struct {
	config       *config.Config
	urls         x509cert.URLs // what the issuing CA's certificate names
	now          time.Time
	actor        string                 // who makes it, for the ledger
	passphrase   func() ([]byte, error) // nil: keys in clear
	rootURI      string                 // of the root's key: file:, absolute or relative to the new folder
	rootAlg      string
	issuingAlg   string
	commonName   string // the CAs': + " Root CA", + " Issuing CA"
	organization string
	rootLife     time.Duration
	issuingLife  time.Duration
	crlLife      time.Duration
	permit       identity.Names
	exclude      identity.Names

	root, issuing *x509.Certificate
	crl           []byte    // DER
	ceremony      *Ceremony // nil: none was held
	transcript    []byte    // of the ceremony; nil without one
}

// build fills the folder temp, which will be the data folder.
func (a *authority) build(ctx context.Context, temp string) error {
	if err := os.Mkdir(filepath.Join(temp, datadir.KeyDir), 0o700); err != nil {
		return err
	}
	if err := a.certificates(ctx, temp); err != nil {
		return err
	}
	if a.ceremony != nil {
		a.transcript = a.ceremony.record(a.root, a.issuing)
	}
	checkpointKey, err := keys.Create(ctx, a.key(temp, a.config.Ledger.CheckpointKey), keys.Ed25519)
	if err != nil {
		return err
	}
	if _, err := keys.Create(ctx, a.key(temp, "file:"+datadir.ServerKey), keys.ECDSAP256); err != nil {
		return err
	}
	files := map[string][]byte{
		datadir.RootCert:   PEM(a.root),
		datadir.RootCRL:    pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: a.crl}),
		datadir.IssuingCRT: PEM(a.issuing),
		config.FileName:    []byte(config.File(*a.config)),
		a.config.Policy:    policy.Default(),
		datadir.Transcript: a.transcript,
	}
	for name, data := range files {
		elsewhere := name == a.config.Policy && (!filepath.IsLocal(name) || filepath.Base(name) != name)
		if data == nil || elsewhere {
			continue // no ceremony; a policy file elsewhere is the admin's own
		}
		if err := datadir.WriteFile(filepath.Join(temp, name), data); err != nil {
			return err
		}
	}
	return a.begin(ctx, temp, checkpointKey)
}

func (a *authority) key(temp, uri string) keys.Config {
	return keys.Config{URI: uri, Dir: temp, Passphrase: a.passphrase}
}

// certificates makes the keys and certificates of the two CAs and the root's CRL.
func (a *authority) certificates(ctx context.Context, temp string) error {
	rootKey, err := keys.Create(ctx, a.key(temp, a.rootURI), a.rootAlg)
	if err != nil {
		return err
	}
	issuingKey, err := keys.Create(ctx, a.key(temp, "file:"+datadir.IssuingKey), a.issuingAlg)
	if err != nil {
		return err
	}
	begin := a.now.Add(-backdate).UTC().Truncate(time.Second)
	a.root, err = x509cert.Root(x509cert.CAConfig{
		CommonName: a.commonName + " Root CA", Organization: a.organization,
		NotBefore: begin, NotAfter: begin.Add(a.rootLife - time.Second), MaxPathLen: 1,
	}, rootKey)
	if err != nil {
		return err
	}
	a.issuing, err = x509cert.Intermediate(x509cert.CAConfig{
		CommonName: a.commonName + " Issuing CA", Organization: a.organization,
		NotBefore: begin, NotAfter: begin.Add(a.issuingLife - time.Second),
		Permit: a.permit, Exclude: a.exclude, URLs: a.urls,
	}, issuingKey.Public(), a.root, rootKey)
	if err != nil {
		return err
	}
	a.crl, err = x509cert.RootCRL(a.root, rootKey, 1, a.now, a.now.Add(a.crlLife))
	return err
}

// RootURLPath and RootCRLPath are where the HTTP listener serves the root.
const (
	RootURLPath = "/ca/root.crt"
	RootCRLPath = "/ca/root.crl"
)

// rootURLs are what the issuing CA's certificate names; nothing where the port is
// not known yet.
func rootURLs(c *config.Config) x509cert.URLs {
	base := c.HTTPBase("")
	u, err := url.Parse(base)
	if base == "" || err != nil || u.Port() == "0" {
		return x509cert.URLs{}
	}
	return x509cert.URLs{CAIssuers: base + RootURLPath, CRL: base + RootCRLPath}
}

// begin makes the store and the ledger's first entries: genesis, the two CAs.
func (a *authority) begin(ctx context.Context, temp string, checkpointKey crypto.Signer) (err error) {
	path := filepath.Join(temp, strings.TrimPrefix(a.config.Storage, "bolt:"))
	if err := bolt.Create(path); err != nil {
		return err
	}
	store, err := bolt.Open(ctx, bolt.Config{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = ledger.Open(ctx, ledger.Config{
		Store: store, Origin: a.config.Ledger.Origin, Signer: checkpointKey, Lock: filepath.Join(temp, lockFile),
		Issuers: [][32]byte{sha256.Sum256(a.root.Raw), sha256.Sum256(a.issuing.Raw)},
	})
	if err != nil {
		return err
	}
	unit := storage.Unit{}
	for _, cert := range []*x509.Certificate{a.root, a.issuing} {
		event := entry.Issuer{
			Event: "created", Issuer: keyID(cert), Certificate: sha256.Sum256(cert.Raw),
		}
		if a.transcript != nil {
			event.Transcript = sha256.Sum256(a.transcript)
		}
		draft, err := event.Draft(a.actor)
		if err != nil {
			return err
		}
		unit = append(unit, storage.AppendEntry{Entry: draft})
	}
	_, err = store.Commit(ctx, unit)
	return err
}

// lockFile is the last-seen file's name while the folder is built.
const lockFile = "lock"

// PEM is the certificate as a PEM block.
func PEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyID(cert *x509.Certificate) [32]byte { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// Fingerprint is how people compare certificates: "sha256:" and the SHA-256 of the
// DER in hexadecimal.
func Fingerprint(cert *x509.Certificate) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.Raw))
}
