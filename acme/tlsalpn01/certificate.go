package tlsalpn01

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/identity"
)

const (
	hintCert = "show, for this protocol only, a fresh self-signed certificate made for this challenge (RFC 8737 §3)"
	hintALPN = "answer the protocol acme-tls/1 on this port: something else may stand before your client"
)

// judge holds a finished handshake against the target (RFC 8737 §3). what is empty
// if it is proven.
func judge(state tls.ConnectionState, target challenge.Target) (kind challenge.ErrorType, what, hint string) {
	if state.NegotiatedProtocol != Protocol {
		return challenge.TLS, "the handshake did not agree on the protocol acme-tls/1", hintALPN
	}
	if len(state.PeerCertificates) == 0 {
		return challenge.TLS, "no certificate was shown", hintCert
	}
	if n := len(state.PeerCertificates); n != 1 {
		return challenge.IncorrectResponse, fmt.Sprintf("%d certificates were shown, expected 1", n), hintCert
	}
	leaf := state.PeerCertificates[0]
	if what := judgeIssuer(leaf); what != "" {
		return challenge.IncorrectResponse, what, hintCert
	}
	if what := judgeNames(leaf, target.Identifier); what != "" {
		return challenge.IncorrectResponse, what, hintCert
	}
	digest := target.Digest()
	switch value, what := identifierOf(leaf); {
	case what != "":
		return challenge.IncorrectResponse, what, hintCert
	case subtle.ConstantTimeCompare(value, digest[:]) != 1:
		return challenge.Unauthorized, "the certificate's acmeIdentifier is not the digest of the key authorization",
			"make the certificate for this token and this account"
	}
	return "", "", ""
}

// judgeIssuer wants a self-signed certificate: issuer and subject are the same and
// the signature verifies under the certificate's own key.
func judgeIssuer(leaf *x509.Certificate) string {
	if !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return "the certificate is not self-signed"
	}
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		return "the certificate's signature does not verify under its own key"
	}
	return ""
}

// judgeNames wants a subjectAltName of exactly one entry, the identifier, read from
// the extension itself: crypto/x509 leaves out the types that it does not know.
func judgeNames(leaf *x509.Certificate, id identity.Identifier) string {
	ext, what := extension(leaf, asn1.ObjectIdentifier{2, 5, 29, 17}, "subjectAltName")
	if what != "" {
		return what
	}
	names, ok := generalNames(ext.Value)
	if !ok {
		return "the certificate's subjectAltName cannot be read"
	}
	if len(names) != 1 {
		return fmt.Sprintf("the certificate has %d names in its subjectAltName, expected exactly 1", len(names))
	}
	const other = "the certificate's one name is not the identifier"
	switch name := names[0]; {
	case id.Type == identity.DNS && name.tag == cbasn1.Tag(2).ContextSpecific():
		if !strings.EqualFold(string(name.value), id.Value) {
			return other
		}
	case id.Type == identity.IP && name.tag == cbasn1.Tag(7).ContextSpecific():
		want, err := netip.ParseAddr(id.Value)
		if err != nil || !bytes.Equal(name.value, want.AsSlice()) {
			return other
		}
	default:
		return "the certificate's one name is not of type " + string(id.Type)
	}
	return ""
}

// generalName is one choice of GeneralName (RFC 5280 §4.2.1.6).
type generalName struct {
	tag   cbasn1.Tag
	value []byte
}

func generalNames(der []byte) ([]generalName, bool) {
	input := cryptobyte.String(der)
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, false
	}
	var names []generalName
	for !seq.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1(&value, &tag) {
			return nil, false
		}
		names = append(names, generalName{tag, value})
	}
	return names, true
}

// identifierOf reads the extension acmeIdentifier: critical, an OCTET STRING of 32
// octets (RFC 8737 §3).
func identifierOf(leaf *x509.Certificate) (value []byte, what string) {
	ext, what := extension(leaf, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, "acmeIdentifier")
	if what != "" {
		return nil, what
	}
	if !ext.Critical {
		return nil, "the certificate's extension acmeIdentifier is not critical"
	}
	return parseIdentifier(ext.Value)
}

func parseIdentifier(der []byte) (value []byte, what string) {
	input := cryptobyte.String(der)
	var octets cryptobyte.String
	if !input.ReadASN1(&octets, cbasn1.OCTET_STRING) || !input.Empty() || len(octets) != 32 {
		return nil, "the certificate's extension acmeIdentifier is not an OCTET STRING of 32 octets"
	}
	return octets, ""
}

// extension finds the one extension of an OID.
func extension(leaf *x509.Certificate, oid asn1.ObjectIdentifier, name string) (*pkix.Extension, string) {
	var found *pkix.Extension
	for i := range leaf.Extensions {
		if leaf.Extensions[i].Id.Equal(oid) {
			if found != nil {
				return nil, "the certificate has the extension " + name + " more than once"
			}
			found = &leaf.Extensions[i]
		}
	}
	if found == nil {
		return nil, "the certificate has no extension " + name
	}
	return found, ""
}
