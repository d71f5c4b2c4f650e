package x509cert

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/problem"
)

const (
	// MaxCSR is the longest CSR that is read, in octets of DER.
	MaxCSR = 16 << 10
	// MaxNames is how many names one certificate can have.
	MaxNames = 100
)

// CSR is what is taken from a certification request: names and key. Everything
// else it asks for (usages, CA:TRUE, a challenge password, an organization) is
// left unread, because it is not the requester's to choose.
type CSR struct {
	Identifiers []identity.Identifier // canonical, sorted, each once; of SAN and common name
	PublicKey   crypto.PublicKey      // has passed keys.CheckPublic
	Hash        [32]byte              // SHA-256 of Raw
	Raw         []byte                // DER
}

// ParseCSR reads a PKCS#10 request in DER or PEM (RFC 7468 §7), verifies its
// signature and its key, and takes its names: DNS, IP, URI and email of the
// subjectAltName, and a common name, which must be one of them or is itself a DNS
// name or IP address. The error is a *problem.Problem: BadCSR, Malformed for a
// broken limit, RejectedIdentifier for a name that is never issued.
func ParseCSR(data []byte) (CSR, error) {
	der, err := csrDER(data)
	if err != nil {
		return CSR{}, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return CSR{}, badCSR("CSR_UNREADABLE", "the CSR cannot be read: %.200v", err)
	}
	if err := keys.CheckPublic(csr.PublicKey); err != nil {
		return CSR{}, err
	}
	if err := checkProof(csr); err != nil {
		return CSR{}, err
	}
	names, err := csrNames(csr)
	if err != nil {
		return CSR{}, err
	}
	return CSR{Identifiers: names, PublicKey: csr.PublicKey, Hash: sha256.Sum256(der), Raw: der}, nil
}

func badCSR(reason, format string, args ...any) *problem.Problem {
	p := problem.New(problem.BadCSR, format, args...)
	p.Reason = reason
	return p
}

func tooLarge(size int) error {
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "CSR_TOO_LARGE", Value: fmt.Sprintf("%d octets", size),
		Detail: "the CSR is too large", Allowed: fmt.Sprintf("%d octets of DER", MaxCSR),
	}
}

// csrDER is the DER of a request in DER or in PEM.
func csrDER(data []byte) ([]byte, error) {
	if len(data) > 2*MaxCSR {
		return nil, tooLarge(len(data))
	}
	if bytes.Contains(data, []byte("-----BEGIN")) && (len(data) == 0 || data[0] != 0x30) {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, badCSR("CSR_UNREADABLE", "the PEM holds no CERTIFICATE REQUEST block")
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, badCSR("CSR_UNREADABLE", "something follows the CSR's PEM block")
		}
		data = block.Bytes
	}
	if len(data) > MaxCSR {
		return nil, tooLarge(len(data))
	}
	return bytes.Clone(data), nil
}

// checkProof verifies the proof of possession; crypto/x509 alone would take
// SHA-1.
func checkProof(csr *x509.CertificateRequest) error {
	switch csr.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	default:
		p := badCSR("CSR_SIGNATURE_ALGORITHM", "the CSR's signature algorithm is not accepted")
		p.Value = csr.SignatureAlgorithm.String()
		p.Allowed = "SHA-256, SHA-384 or SHA-512 with RSA or ECDSA; Ed25519"
		return p
	}
	if err := csr.CheckSignature(); err != nil {
		return badCSR("CSR_SIGNATURE", "the CSR's signature does not verify with its key")
	}
	return nil
}

// csrNames takes the names of SAN and subject, in canonical form.
func csrNames(csr *x509.CertificateRequest) ([]identity.Identifier, error) {
	var names []identity.Identifier
	seen := false
	for _, ext := range csr.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		if seen {
			return nil, badCSR("CSR_UNREADABLE", "the CSR has two subjectAltName extensions")
		}
		seen = true
		var err error
		if names, err = parseSAN(ext.Value); err != nil {
			return nil, err
		}
	}
	names, err := canonical(names)
	if err != nil {
		return nil, err
	}
	for _, attribute := range csr.Subject.Names {
		value, _ := attribute.Value.(string)
		switch {
		case attribute.Type.Equal(oidCommonName):
			names, err = addCommonName(names, value)
		case attribute.Type.Equal(oidEmailAddress):
			err = requireEmail(names, value)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(names) > MaxNames {
		return nil, tooManyNames(len(names))
	}
	if len(names) == 0 {
		return nil, badCSR("CSR_NO_NAMES", "the CSR has no names: neither subjectAltName nor common name")
	}
	return canonical(names)
}

func canonical(names []identity.Identifier) ([]identity.Identifier, error) {
	set, err := identity.CanonicalSet(names)
	if err != nil {
		return nil, rejected("", err.Error())
	}
	return set, nil
}

func rejected(value, detail string) error {
	return &problem.Problem{
		Kind: problem.RejectedIdentifier, Reason: "NAME_FORM", Rule: "canonical names", Value: value, Detail: detail,
		Help: "put DNS names, IP addresses, URIs and email addresses into the subjectAltName",
	}
}

func tooManyNames(n int) error {
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "TOO_MANY_NAMES", Value: fmt.Sprint(n),
		Detail: "the CSR has too many names", Allowed: fmt.Sprintf("%d names", MaxNames),
	}
}

// parseSAN reads GeneralNames (RFC 5280 §4.2.1.6). Types that are not issued
// are refused rather than skipped: the requester would believe to have them.
func parseSAN(value []byte) ([]identity.Identifier, error) {
	outer := cryptobyte.String(value)
	var list cryptobyte.String
	if !outer.ReadASN1(&list, cbasn1.SEQUENCE) || !outer.Empty() {
		return nil, badCSR("CSR_UNREADABLE", "the CSR's subjectAltName is not well-formed")
	}
	var names []identity.Identifier
	for !list.Empty() {
		var text cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1(&text, &tag) {
			return nil, badCSR("CSR_UNREADABLE", "the CSR's subjectAltName is not well-formed")
		}
		name, err := generalName(tag, text)
		if err != nil {
			return nil, err
		}
		if names = append(names, name); len(names) > MaxNames {
			return nil, tooManyNames(len(names))
		}
	}
	return names, nil
}

func generalName(tag cbasn1.Tag, text []byte) (identity.Identifier, error) {
	switch tag {
	case cbasn1.Tag(1).ContextSpecific():
		return identity.Identifier{Type: identity.Email, Value: string(text)}, nil
	case cbasn1.Tag(2).ContextSpecific():
		return identity.Identifier{Type: identity.DNS, Value: string(text)}, nil
	case cbasn1.Tag(6).ContextSpecific():
		return identity.Identifier{Type: identity.URI, Value: string(text)}, nil
	case cbasn1.Tag(7).ContextSpecific():
		addr, ok := netip.AddrFromSlice(text)
		if !ok {
			return identity.Identifier{}, badCSR("CSR_UNREADABLE", "an IP address in the CSR has %d octets", len(text))
		}
		return identity.Identifier{Type: identity.IP, Value: addr.String()}, nil
	}
	kinds := map[uint8]string{0: "otherName", 3: "x400Address", 4: "directoryName", 5: "ediPartyName", 8: "registeredID"}
	kind := kinds[uint8(tag)&0x1f]
	if kind == "" {
		kind = "unknown"
	}
	return identity.Identifier{}, &problem.Problem{
		Kind: problem.RejectedIdentifier, Reason: "NAME_TYPE", Rule: "name types", Value: kind,
		Detail:  "the CSR asks for a kind of name that is not issued",
		Allowed: "dNSName, iPAddress, uniformResourceIdentifier, rfc822Name",
		Help:    "leave it out of the CSR",
	}
}

// addCommonName adds a common name that is not among the names, as the DNS name
// or IP address it is.
func addCommonName(names []identity.Identifier, cn string) ([]identity.Identifier, error) {
	var reason error
	for _, kind := range []identity.IdentifierType{identity.IP, identity.DNS, identity.URI, identity.Email} {
		name, err := identity.Identifier{Type: kind, Value: cn}.Canonical()
		if err != nil {
			if kind == identity.DNS {
				reason = err
			}
			continue
		}
		for _, n := range names {
			if n == name {
				return names, nil
			}
		}
		if kind == identity.IP || kind == identity.DNS {
			return append(names, name), nil
		}
	}
	if reason == nil {
		reason = fmt.Errorf("%.64q", cn)
	}
	return nil, rejected(fmt.Sprintf("%.64s", cn), fmt.Sprintf("the CSR's common name is neither a DNS name or IP address nor among its subjectAltNames: %v", reason))
}

func requireEmail(names []identity.Identifier, address string) error {
	name, err := identity.Identifier{Type: identity.Email, Value: address}.Canonical()
	if err == nil {
		for _, n := range names {
			if n == name {
				return nil
			}
		}
	}
	return rejected(fmt.Sprintf("%.64s", address), "the CSR's subject has an emailAddress that is not among its subjectAltNames")
}
