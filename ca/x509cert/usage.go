package x509cert

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// keyUsage is the key usage (RFC 5280 §4.2.1.3) of a profile's names for it.
// keyCertSign and cRLSign have none: no profile can make a CA.
func keyUsage(names []string) (x509.KeyUsage, error) {
	var usage x509.KeyUsage
	for _, name := range names {
		switch name {
		case "digital_signature":
			usage |= x509.KeyUsageDigitalSignature
		case "content_commitment":
			usage |= x509.KeyUsageContentCommitment
		case "key_encipherment":
			usage |= x509.KeyUsageKeyEncipherment
		case "data_encipherment":
			usage |= x509.KeyUsageDataEncipherment
		case "key_agreement":
			usage |= x509.KeyUsageKeyAgreement
		default:
			return 0, fmt.Errorf("key usage %.32q is not issued", name)
		}
	}
	return usage, nil
}

// ocspSigning is the purpose of OCSP responders; their certificates carry
// id-pkix-ocsp-nocheck as well (RFC 6960 §4.2.2.2.1).
const ocspSigning = "ocsp_signing"

// extKeyUsages are the key purposes (RFC 5280 §4.2.1.12) of a profile's names
// for them. anyExtendedKeyUsage has none, and ocsp_signing only the policy's
// built-in responder profiles have.
func extKeyUsages(names []string) ([]asn1.ObjectIdentifier, error) {
	oids := make([]asn1.ObjectIdentifier, 0, len(names))
	for _, name := range names {
		var purpose int
		switch name {
		case "server_auth":
			purpose = 1
		case "client_auth":
			purpose = 2
		case "code_signing":
			purpose = 3
		case "email_protection":
			purpose = 4
		case "time_stamping":
			purpose = 8
		case ocspSigning:
			purpose = 9
		default:
			return nil, fmt.Errorf("extended key usage %.32q is not issued", name)
		}
		oids = append(oids, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, purpose})
	}
	return oids, nil
}
