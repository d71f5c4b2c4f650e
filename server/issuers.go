package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
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
	data, err = os.ReadFile(file)
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

// openIssuers opens the keys and certificates that the policy names.
func openIssuers(ctx context.Context, c *config.Config, doc *policy.Document) (issuers, error) {
	var all issuers
	for _, spec := range doc.Issuers {
		chain, err := readCertificates(c.Path(spec.Certificate))
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
		}
		signer, err := keys.Open(ctx, keys.Config{URI: spec.Key, Dir: c.Data, Passphrase: c.Passphrase()})
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
		}
		keyID, err := identity.KeyIDOf(chain[0].PublicKey)
		if err != nil {
			return issuers{}, fmt.Errorf("issuer %s: %w", spec.Name, err)
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

// readCertificates reads a PEM file of one certificate or more, the issuer's
// first.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
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
