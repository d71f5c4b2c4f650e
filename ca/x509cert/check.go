package x509cert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// ErrSigned says that this draft has been signed: there is never a second signature for
// one serial.
var ErrSigned = errors.New("draft is signed already")

// Checked is a draft that is exactly what was decided and passes its lints. It
// can be signed once.
type Checked struct {
	tbs    []byte
	issuer *Issuer
	used   atomic.Bool
}

// TBS is the DER that will be signed. It must not be changed.
func (c *Checked) TBS() []byte { return c.tbs }

// Check reads the draft back as a stranger would and compares it with what was
// asked and decided, field by field, allowing nothing else in it; then it lints
// it by the profile's lints. What is read is a twin of the certificate with a
// placebo for a signature: the issuer's key is not touched. A difference is an
// Internal problem with reason DRAFT_DIFFERS: our own fault. A failing lint is
// a Denied problem with a violation for each.
func (l *Linter) Check(tbs []byte, w Want) (*Checked, error) {
	twin, err := w.Issuer.assemble(tbs, w.Issuer.placebo)
	if err != nil {
		return nil, fmt.Errorf("twin: %w", err)
	}
	cert, err := x509.ParseCertificate(twin)
	if err == nil {
		err = compare(cert, tbs, w)
	}
	if err != nil {
		return nil, &problem.Problem{Kind: problem.Internal, Reason: "DRAFT_DIFFERS", Err: fmt.Errorf("draft: %w", err)}
	}
	if err := l.lint(cert, w.Decision.Profile.Lints); err != nil {
		return nil, err
	}
	return &Checked{tbs: bytes.Clone(tbs), issuer: w.Issuer}, nil
}

// Sign signs the draft's bytes with the issuer's key and returns the
// certificate's DER. A second call returns ErrSigned, whatever the first did.
func (c *Checked) Sign() ([]byte, error) {
	if c.used.Swap(true) {
		return nil, ErrSigned
	}
	signature, err := c.issuer.sign(c.tbs)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return c.issuer.assemble(c.tbs, signature)
}

// Verify says whether der is this draft, byte for byte, under a signature of
// the issuer that verifies, and whether the issuer's certificate allows it
// (RFC 5280 §6: CA, path length, name constraints).
func (c *Checked) Verify(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("signed certificate: %w", err)
	}
	if !bytes.Equal(cert.RawTBSCertificate, c.tbs) {
		return errors.New("what is signed is not what is logged")
	}
	at := cert.NotBefore // validity is the policy's business, not of this check
	if ca := c.issuer.cert.NotBefore; at.Before(ca) {
		at = ca
	}
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: c.issuer.pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("signed certificate under its issuer: %w", err)
	}
	return nil
}

// maxBackdate is how far before its drafting, which its serial tells, a
// certificate may begin.
const maxBackdate = time.Hour

// compare holds the twin against what is wanted. It shares no code with Draft
// but the tables of usages.
func compare(cert *x509.Certificate, tbs []byte, w Want) error {
	if err := wholeTBS(tbs); err != nil {
		return err
	}
	issuer := w.Issuer.cert
	spki, err := x509.MarshalPKIXPublicKey(w.Request.PublicKey)
	if err != nil {
		return err
	}
	keyID, err := authorityKeyID(cert)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(cert.RawTBSCertificate, tbs):
		return errors.New("it does not read back")
	case cert.Version != 3:
		return errors.New("version")
	case cert.SerialNumber.Cmp(w.Serial.Big()) != 0 || cert.SerialNumber.Sign() <= 0:
		return errors.New("serial")
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return errors.New("issuer")
	case !bytes.Equal(cert.RawSubjectPublicKeyInfo, spki):
		return errors.New("public key")
	case !bytes.Equal(keyID, issuer.SubjectKeyId):
		return errors.New("authority key identifier")
	}
	return errors.Join(compareValidity(cert, w), compareNames(cert, w), compareUsages(cert, w), compareURLs(cert, w.URLs))
}

// wholeTBS: the TBSCertificate has its eight fields (version, serial, signature,
// issuer, validity, subject, key, extensions) and no unique identifiers, which
// crypto/x509 would skip.
func wholeTBS(tbs []byte) error {
	s := cryptobyte.String(tbs)
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() {
		return errors.New("not one SEQUENCE")
	}
	fields := 0
	for ; !body.Empty(); fields++ {
		var field cryptobyte.String
		var tag cbasn1.Tag
		if !body.ReadAnyASN1Element(&field, &tag) {
			return errors.New("fields are not well-formed")
		}
	}
	if fields != 8 {
		return fmt.Errorf("%d fields, not 8", fields)
	}
	return nil
}

// authorityKeyID reads the extension's keyIdentifier, which must be all of it.
func authorityKeyID(cert *x509.Certificate) ([]byte, error) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidAuthorityKeyID) {
			continue
		}
		s := cryptobyte.String(ext.Value)
		var body, id cryptobyte.String
		if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() ||
			!body.ReadASN1(&id, cbasn1.Tag(0).ContextSpecific()) || !body.Empty() {
			return nil, errors.New("authority key identifier")
		}
		return id, nil
	}
	return nil, errors.New("authority key identifier is missing")
}

// compareValidity: notAfter is inclusive (RFC 5280 §4.1.2.5), hence the second.
func compareValidity(cert *x509.Certificate, w Want) error {
	d := w.Decision
	if !cert.NotBefore.Equal(d.NotBefore.Truncate(time.Second)) || !cert.NotAfter.Equal(d.NotAfter.Truncate(time.Second)) {
		return errors.New("validity")
	}
	drafted := time.UnixMilli(int64(new(big.Int).SetBytes(w.Serial[:6]).Uint64()))
	if cert.NotBefore.Before(drafted.Add(-maxBackdate).Truncate(time.Second)) {
		return errors.New("it begins too far in the past")
	}
	longest := time.Duration(d.Profile.Validity.Max)
	if cert.NotAfter.Before(cert.NotBefore) || cert.NotAfter.Sub(cert.NotBefore)+time.Second > longest {
		return errors.New("validity is longer than the profile's")
	}
	if cert.NotAfter.After(w.Issuer.cert.NotAfter) {
		return errors.New("it outlives its issuer")
	}
	return nil
}

func compareNames(cert *x509.Certificate, w Want) error {
	var san []identity.Identifier
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidSubjectAltName) {
			var err error
			if san, err = parseSAN(ext.Value); err != nil {
				return fmt.Errorf("names: %w", err)
			}
		}
	}
	if len(san) == 0 || !slices.Equal(san, w.Request.Identifiers) {
		return errors.New("names")
	}
	switch names := cert.Subject.Names; len(names) {
	case 0:
		if cn := commonName(san); cn != "" {
			return errors.New("subject has no common name")
		}
	case 1:
		cn, _ := names[0].Value.(string)
		isCN := names[0].Type.Equal(oidCommonName)
		if !isCN || !slices.Contains(w.Request.Identifiers, identity.Identifier{Type: identity.DNS, Value: cn}) {
			return errors.New("subject")
		}
	default:
		return errors.New("subject has more than a common name")
	}
	return nil
}

func compareUsages(cert *x509.Certificate, w Want) error {
	usage, err := keyUsage(w.Decision.Profile.KeyUsage)
	if err != nil {
		return err
	}
	purposes, err := extKeyUsages(w.Decision.Profile.ExtKeyUsage)
	if err != nil {
		return err
	}
	if cert.KeyUsage != usage {
		return errors.New("key usage")
	}
	if cert.IsCA || !cert.BasicConstraintsValid || cert.MaxPathLen > 0 || cert.MaxPathLenZero {
		return errors.New("basic constraints")
	}
	return compareExtensions(cert, extensionsOf(w, usage, len(purposes) > 0, len(cert.Subject.Names) > 0), purposes)
}

// extensionsOf are the extensions that the certificate has, each with whether it
// is critical.
func extensionsOf(w Want, usage x509.KeyUsage, purposes, subject bool) map[string]bool {
	expected := map[string]bool{
		oidBasicConstraints.String(): true, oidAuthorityKeyID.String(): false, oidSubjectAltName.String(): !subject,
	}
	if usage != 0 {
		expected[oidKeyUsage.String()] = true
	}
	if purposes {
		expected[oidExtKeyUsage.String()] = false
	}
	if w.URLs.OCSP != "" || w.URLs.CAIssuers != "" {
		expected[oidAuthorityInfo.String()] = false
	}
	if w.URLs.CRL != "" {
		expected[oidCRLPoints.String()] = false
	}
	return expected
}

func compareExtensions(cert *x509.Certificate, expected map[string]bool, purposes []asn1.ObjectIdentifier) error {
	var got []asn1.ObjectIdentifier
	for _, ext := range cert.Extensions {
		critical, ok := expected[ext.Id.String()]
		if !ok || critical != ext.Critical {
			return fmt.Errorf("extension %s, critical %t", ext.Id, ext.Critical)
		}
		delete(expected, ext.Id.String()) // a second one is not expected
		if ext.Id.Equal(oidExtKeyUsage) {
			if rest, err := asn1.Unmarshal(ext.Value, &got); err != nil || len(rest) > 0 {
				return errors.New("extended key usage")
			}
		}
	}
	if len(expected) > 0 {
		return fmt.Errorf("%d extensions are missing", len(expected))
	}
	if !slices.EqualFunc(got, purposes, asn1.ObjectIdentifier.Equal) {
		return errors.New("extended key usage")
	}
	return nil
}

func compareURLs(cert *x509.Certificate, urls URLs) error {
	same := func(got []string, want string) bool {
		return want == "" && len(got) == 0 || len(got) == 1 && got[0] == want
	}
	if !same(cert.OCSPServer, urls.OCSP) || !same(cert.IssuingCertificateURL, urls.CAIssuers) {
		return errors.New("authority information access")
	}
	if !same(cert.CRLDistributionPoints, urls.CRL) {
		return errors.New("CRL distribution point")
	}
	return nil
}
