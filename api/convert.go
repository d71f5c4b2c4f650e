package api

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// certificateMessage is a certificate as callers see it, without chain,
// key algorithm and successor.
func (s *Server) certificateMessage(c storage.Certificate, labels map[string]string) *certwrightv1.Certificate {
	m := &certwrightv1.Certificate{
		Serial:        c.Serial.String(),
		Issuer:        s.config.Inventory.IssuerName(c.Issuer),
		Profile:       c.Intent.Profile,
		Owner:         c.Intent.Owner,
		NotBefore:     timestamp(c.NotBefore),
		NotAfter:      timestamp(c.NotAfter),
		State:         certwrightv1.Certificate_State(certwrightv1.Certificate_State_value[inventory.StateOf(c, s.config.Now())]),
		LedgerIndex:   c.Index,
		Requester:     c.Requester,
		Labels:        labels,
		Grant:         c.Intent.Grant,
		PolicyVersion: hex.EncodeToString(c.Intent.Policy[:]),
		CrlShard:      uint32(c.CRLShard),
		CreateTime:    timestamp(c.Time),
		SpkiSha256:    c.SPKI.String(),
		Replaces:      hashText(c.Intent.Replaces),
	}
	addNames(m, c.Names)
	if c.State == storage.Issued {
		m.Id = hex.EncodeToString(c.Fingerprint[:])
		m.Pem = pemBlock(c.DER)
	}
	if c.Revocation != nil {
		m.Revocation = &certwrightv1.Revocation{
			RevokeTime: timestamp(c.Revocation.At), Reason: certwrightv1.Revocation_Reason(c.Revocation.Reason),
		}
	}
	return m
}

// hashText is a hash in hexadecimal; empty if there is none.
func hashText(hash [32]byte) string {
	if hash == ([32]byte{}) {
		return ""
	}
	return hex.EncodeToString(hash[:])
}

// keyAlgorithm is the name of the key's algorithm; empty if there is no certificate.
func keyAlgorithm(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	return keys.Algorithm(cert.PublicKey)
}

func addNames(m *certwrightv1.Certificate, names []identity.Identifier) {
	for _, name := range names {
		switch name.Type {
		case identity.DNS:
			m.DnsNames = append(m.DnsNames, name.Value)
		case identity.IP:
			m.IpAddresses = append(m.IpAddresses, name.Value)
		case identity.URI:
			m.Uris = append(m.Uris, name.Value)
		case identity.Email:
			m.Emails = append(m.Emails, name.Value)
		}
	}
}

// previewMessage is the answer to validate_only: what a certificate would have.
func previewMessage(req identity.Request, d policy.Decision) *certwrightv1.Certificate {
	m := &certwrightv1.Certificate{
		Issuer: d.Issuer, Profile: d.Profile.Name, Owner: d.Owner, Grant: d.Grant, Labels: req.Labels,
		NotBefore: timestamp(d.NotBefore), NotAfter: timestamp(d.NotAfter), Requester: req.Principal.String(),
		PolicyVersion: hex.EncodeToString(d.Policy[:]), KeyAlgorithm: keys.Algorithm(req.PublicKey),
	}
	if id, err := identity.KeyIDOf(req.PublicKey); err == nil {
		m.SpkiSha256 = id.String()
	}
	addNames(m, req.Identifiers)
	return m
}

// timestamp is nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func pemBlock(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func pemChain(chain [][]byte) string {
	var b strings.Builder
	for _, der := range chain {
		b.WriteString(pemBlock(der))
	}
	return b.String()
}

func pemCertificates(chain []*x509.Certificate) string {
	var b strings.Builder
	for _, c := range chain {
		b.WriteString(pemBlock(c.Raw))
	}
	return b.String()
}
