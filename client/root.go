package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/certwright/certwright/plainfile"
)

// maxRoots is the largest file of roots that is read, in bytes.
const maxRoots = 4 << 20

// Fingerprint is "sha256:" and the SHA-256 of the certificate's DER: what
// Config.Fingerprint takes.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ParseRoots reads certificates in PEM, of which there must be one or more. Other
// blocks are faults: what is taken for roots holds no keys.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %.64q among the certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(roots)+1, err)
		}
		roots = append(roots, cert)
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return roots, nil
}

// readRoots reads a file of roots.
func readRoots(path string) ([]*x509.Certificate, error) {
	text, err := plainfile.Read(path, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	roots, err := ParseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("CA file %s: %w", path, err)
	}
	return roots, nil
}

// UnknownRoot is what ShownRoot answers if nothing tells whether the root that the
// server shows is the right one. Its fingerprint can be compared with what the CA's
// admin says.
type UnknownRoot struct {
	Server string
	Shown  *x509.Certificate
}

// Error names the fingerprint that was seen.
func (u *UnknownRoot) Error() string {
	return fmt.Sprintf("the server %s shows the root %s, which nobody has confirmed", u.Server, Fingerprint(u.Shown))
}

// ErrOtherRoot is what a connection fails with if the server shows another root than
// that of Config.Fingerprint.
var ErrOtherRoot = errors.New("the server does not show the root certificate of the fingerprint")

// ShownRoot is the root that the server shows in TLS, after it was found to be that
// of the fingerprint, or one of the CA file: the server's own certificate leads to it.
// With neither it is UnknownRoot.
func ShownRoot(ctx context.Context, c Config) (*x509.Certificate, error) {
	address, err := Address(c.Server)
	if err != nil {
		return nil, err
	}
	config, err := c.tls(address)
	if err != nil {
		return nil, err
	}
	pinned := c.CAFile != "" || c.Fingerprint != ""
	config.InsecureSkipVerify = config.InsecureSkipVerify || !pinned // then nothing but a fingerprint is given out
	config.NextProtos = []string{"h2"}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("no safe connection to %s: %w", address, err)
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	root, err := rootOf(conn.(*tls.Conn).ConnectionState(), c.Fingerprint)
	if err != nil {
		return nil, err
	}
	if err := IsRoot(root); err != nil {
		return nil, fmt.Errorf("the server %s shows no root: %w", address, err)
	}
	if !pinned {
		return nil, &UnknownRoot{Server: address, Shown: root}
	}
	return root, nil
}

// rootOf is the root of a connection: that of the fingerprint, else the one that the
// verified chain leads to, else the last that was shown.
func rootOf(state tls.ConnectionState, fingerprint string) (*x509.Certificate, error) {
	shown := state.PeerCertificates
	if fingerprint == "" {
		if len(state.VerifiedChains) > 0 {
			shown = state.VerifiedChains[0]
		}
		return shown[len(shown)-1], nil
	}
	want, err := ParseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	for _, cert := range shown {
		if sum := sha256.Sum256(cert.Raw); bytes.Equal(sum[:], want) {
			return cert, nil
		}
	}
	return nil, ErrOtherRoot
}

// IsRoot is nil for a certificate that can be a trust anchor: a CA that has signed
// itself and may sign certificates, in its time.
func IsRoot(cert *x509.Certificate) error {
	now := time.Now()
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("it is not the certificate of a CA")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it may not sign certificates")
	case cert.CheckSignatureFrom(cert) != nil || !bytes.Equal(cert.RawIssuer, cert.RawSubject):
		return errors.New("it is not a root: another CA has signed it")
	case now.After(cert.NotAfter):
		return fmt.Errorf("it has expired, on %s", cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("it is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

func poolOf(roots []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return pool
}
