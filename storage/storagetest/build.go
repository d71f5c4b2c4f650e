// Package storagetest is the suite that every storage backend passes (Run), and
// the makers of realistic commands that other rooms' tests use as well.
package storagetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Issuer is an issuing CA whose certificates are made for tests.
type Issuer struct {
	ID          identity.KeyID
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
}

// NewIssuer makes a self-signed issuer with a new P-256 key.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Issuing CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.KeyIDOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{ID: id, Certificate: certificate, Key: key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Spec is what a made certificate shall say; every field may be empty.
type Spec struct {
	Names       []identity.Identifier // default: dns:svc.internal
	Owner       string                // default: "team-a"
	Requester   string                // default: "token:test"
	RequestID   string                // empty: none
	Serial      identity.Serial       // default: a new one
	NotBefore   time.Time             // default: now
	NotAfter    time.Time             // default: 90 days later
	Key         *ecdsa.PrivateKey     // default: a new one
	CRLShard    uint16
	Incarnation storage.Incarnation
	Deadline    time.Time // default: in a minute
}

// Issuance is one certificate's way through the storage.
type Issuance struct {
	Reserve  storage.ReserveIssuance
	Complete storage.CompleteIssuance
	Intent   entry.Intent
	// RequestKey is the intent's; zero if the Spec has no RequestID.
	RequestKey [32]byte
}

// DNS is a list of DNS identifiers.
func DNS(names ...string) []identity.Identifier {
	out := make([]identity.Identifier, len(names))
	for i, name := range names {
		out[i] = identity.Identifier{Type: identity.DNS, Value: name}
	}
	return out
}

func (s Spec) withDefaults(t testing.TB) Spec {
	t.Helper()
	if s.Names == nil {
		s.Names = DNS("svc.internal")
	}
	if s.Owner == "" {
		s.Owner = "team-a"
	}
	if s.Requester == "" {
		s.Requester = "token:test"
	}
	if s.Serial == (identity.Serial{}) {
		s.Serial = identity.NewSerial(time.Now())
	}
	if s.NotBefore.IsZero() {
		s.NotBefore = time.Now()
	}
	if s.NotAfter.IsZero() {
		s.NotAfter = s.NotBefore.Add(90 * 24 * time.Hour)
	}
	if s.Key == nil {
		s.Key = newKey(t)
	}
	if s.Deadline.IsZero() {
		s.Deadline = time.Now().Add(time.Minute)
	}
	s.NotBefore, s.NotAfter = s.NotBefore.UTC().Truncate(time.Second), s.NotAfter.UTC().Truncate(time.Second)
	return s
}

// Issue makes a leaf with the extensions of a real one (AIA, OCSP, CRL) and the
// commands that reserve and complete it.
func (i *Issuer) Issue(t testing.TB, spec Spec) Issuance {
	t.Helper()
	s := spec.withDefaults(t)
	template := &x509.Certificate{
		SerialNumber: s.Serial.Big(), NotBefore: s.NotBefore, NotAfter: s.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IssuingCertificateURL: []string{"http://pki.internal:8080/issuer.crt"},
		OCSPServer:            []string{"http://pki.internal:8080/ocsp"},
		CRLDistributionPoints: []string{"http://pki.internal:8080/crl/0.crl"},
		BasicConstraintsValid: true,
	}
	addNames(t, template, s.Names)
	der, err := x509.CreateCertificate(rand.Reader, template, i.Certificate, s.Key.Public(), i.Key)
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		t.Fatal(err)
	}
	return i.issuance(t, s, parts.TBS.FullBytes, der)
}

func addNames(t testing.TB, template *x509.Certificate, names []identity.Identifier) {
	t.Helper()
	for _, name := range names {
		switch name.Type {
		case identity.DNS:
			template.DNSNames = append(template.DNSNames, name.Value)
		case identity.IP:
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(name.Value))
		case identity.Email:
			template.EmailAddresses = append(template.EmailAddresses, name.Value)
		case identity.URI:
			u, err := url.Parse(name.Value)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
	}
}

func (i *Issuer) issuance(t testing.TB, s Spec, tbs, der []byte) Issuance {
	t.Helper()
	spki, err := identity.KeyIDOf(s.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	intent := entry.Intent{
		Issuer: i.ID, Profile: "server", Policy: sha256.Sum256([]byte("policy")), Grant: "team-a-servers",
		Evidence: sha256.Sum256([]byte("evidence")), Owner: s.Owner, CSR: sha256.Sum256(der), TBS: tbs,
	}
	if s.RequestID != "" {
		intent.RequestKey = sha256.Sum256([]byte(s.Requester + " " + s.RequestID))
		intent.RequestDigest = sha256.Sum256([]byte("digest of " + s.RequestID))
	}
	draft, err := intent.Draft(s.Requester)
	if err != nil {
		t.Fatal(err)
	}
	return Issuance{
		Reserve: storage.ReserveIssuance{
			Entry: draft, Issuer: i.ID, Serial: s.Serial, Names: s.Names, SPKI: spki, NotBefore: s.NotBefore, NotAfter: s.NotAfter,
			CRLShard: s.CRLShard, Incarnation: s.Incarnation, Deadline: s.Deadline,
		},
		Complete:   storage.CompleteIssuance{Issuer: i.ID, Serial: s.Serial, Certificate: der},
		Intent:     intent,
		RequestKey: intent.RequestKey,
	}
}

// Abandon is the command that abandons the issuance whose intent is at index.
func (i Issuance) Abandon(t testing.TB, index uint64) storage.Abandon {
	t.Helper()
	draft, err := entry.Abandoned{Index: index, Reason: "signing-failed"}.Draft("system:server")
	if err != nil {
		t.Fatal(err)
	}
	return storage.Abandon{Entry: draft, Issuer: i.Reserve.Issuer, Serial: i.Reserve.Serial}
}

// Revoke is the command that revokes the certificate.
func (i Issuance) Revoke(t testing.TB, reason identity.RevocationReason) storage.Revoke {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Millisecond)
	draft, err := entry.Revoked{
		Issuer: i.Reserve.Issuer, Serial: i.Reserve.Serial, Reason: uint8(reason), At: at,
	}.Draft("local_socket:admin")
	if err != nil {
		t.Fatal(err)
	}
	return storage.Revoke{Entry: draft, Issuer: i.Reserve.Issuer, Serial: i.Reserve.Serial, Reason: reason, At: at}
}

// PutCRL is the command that publishes a CRL; der need not be one.
func (i *Issuer) PutCRL(t testing.TB, shard string, number uint64, der []byte) storage.PutCRL {
	t.Helper()
	draft, err := entry.CRL{Issuer: i.ID, Shard: shard, Number: number, SHA256: sha256.Sum256(der)}.Draft("system:server")
	if err != nil {
		t.Fatal(err)
	}
	return storage.PutCRL{Entry: draft, Issuer: i.ID, Shard: shard, Number: number, DER: der}
}

// Action is a command that appends an entry of another kind, with the text in
// its body.
func Action(text string) storage.AppendEntry {
	return storage.AppendEntry{Entry: entry.Draft{Kind: entry.AdminAction, Actor: "local_socket:admin", Body: []byte(text)}}
}
