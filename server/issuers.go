package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/storage"
)

// firstPolicy is the document that says which issuers there are: the one in
// force, else the policy file, which is going to be.
func firstPolicy(ctx context.Context, c *config.Config, store storage.RecordReader) (file string, data []byte, err error) {
	data, err = ca.ActivePolicy(ctx, store)
	if err == nil {
		return "active policy", data, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return "", nil, err
	}
	file = c.Path(c.Policy)
	data, err = plainfile.Read(file, maxSmallFile)
	if err != nil {
		return "", nil, fmt.Errorf("policy file: %w", err)
	}
	return file, data, nil
}

// issuers are the opened issuers, in the two forms in which the rooms want them.
type issuers struct {
	authority []ca.IssuerConfig
	policy    []policy.Issuer
}

// openIssuers opens the keys and certificates that the policy names. The
// certificates must lead up to the root.
func openIssuers(ctx context.Context, c *config.Config, doc *policy.Document, root *x509.Certificate) (issuers, error) {
	var all issuers
	for _, spec := range doc.Issuers {
		chain, err := readCertificates(c.Path(spec.Certificate))
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
		}
		if err := leadsTo(chain, root); err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %s: %w", spec.Name, spec.Certificate, err)
		}
		signer, err := keys.Open(ctx, keys.Config{URI: spec.Key, Dir: c.Data, Passphrase: c.Passphrase()})
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
		}
		keyID, err := identity.KeyIDOf(chain[0].PublicKey)
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
		}
		if signing, err := identity.KeyIDOf(signer.Public()); err != nil || signing != keyID {
			return issuers{}, fmt.Errorf("issuer %s: the key %s is not that of the certificate %s", spec.Name, spec.Key, spec.Certificate)
		}
		all.authority = append(all.authority, ca.IssuerConfig{
			Name: spec.Name, Certificate: chain[0], Chain: chain, Signer: signer, State: ca.Active,
		})
		all.policy = append(all.policy, policy.Issuer{
			Name: spec.Name, KeyID: keyID, NotAfter: chain[0].NotAfter, Certificate: chain[0],
		})
	}
	return all, nil
}

// leadsTo says whether a chain, the issuer's certificate first, verifies up to
// the root.
func leadsTo(chain []*x509.Certificate, root *x509.Certificate) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: chain[0].NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// usedCollection has a record for each issuer certificate that a server has
// begun to sign with.
const usedCollection = "issuer-used"

// recordIssuers writes into the ledger that this server signs with an issuer's
// certificate, the first time that it does.
func recordIssuers(ctx context.Context, store storage.Store, opened issuers) error {
	for _, is := range opened.authority {
		hash := sha256.Sum256(is.Certificate.Raw)
		id := hex.EncodeToString(hash[:])
		_, err := store.Record(ctx, usedCollection, id)
		if !errors.Is(err, storage.ErrNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		draft, err := entry.Issuer{
			Event: "activated", Issuer: sha256.Sum256(is.Certificate.RawSubjectPublicKeyInfo), Certificate: hash,
		}.Draft("system:server")
		if err != nil {
			return err
		}
		_, err = store.Commit(ctx, storage.Unit{
			storage.AppendEntry{Entry: draft},
			storage.PutRecord{Collection: usedCollection, ID: id, Body: []byte(is.Name)},
		})
		if err != nil && !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("issuer %s: %w", is.Name, err)
		}
	}
	return nil
}

// maxSmallFile is more than any file of certificates or policies needs, in bytes.
const maxSmallFile = 4 << 20

// readCertificates reads a PEM file of one certificate or more, the issuer's
// first.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := plainfile.Read(path, maxSmallFile)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: a block %q where a CERTIFICATE is expected", filepath.Base(path), block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return all, nil
}
