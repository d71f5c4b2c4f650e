package ocsp

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // RFC 6960 §4.1.1: a CertID may name its issuer by SHA-1
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

// IssuerConfig is an issuer whose certificates are answered for.
type IssuerConfig struct {
	Name        string // in logs and statistics
	Certificate *x509.Certificate
	// Profile is that of the issuer's responder certificates; it is asked for
	// with Config.Issue. Empty: the issuer's own key signs.
	Profile string
	// Signer is the issuer's own key, counted for this purpose by its owner. It
	// signs if there is no Profile, and otherwise stands in while there is no
	// valid responder certificate. nil: there is no stand-in.
	Signer crypto.Signer
}

// issuer is an IssuerConfig made ready.
type issuer struct {
	name    string
	number  uint16 // in Config.Issuers
	keyID   identity.KeyID
	cert    *x509.Certificate
	profile string
	ids     [variants][]byte // hash algorithm, name hash and key hash of its CertIDs: DER
	names   [2]issuerHash    // by SHA-1, SHA-256

	own       *signer // its own key; nil: none
	delegated atomic.Pointer[signer]

	mu      sync.Mutex // held while a responder certificate is obtained
	retryAt time.Time
	failed  int

	lastError atomic.Pointer[string] // of the last try; nil: it went well
}

// issuerHash is how a CertID names an issuer.
type issuerHash struct {
	sha256    bool
	name, key [sha256.Size]byte
}

func newIssuer(number int, cfg IssuerConfig) (*issuer, error) {
	if cfg.Certificate == nil || cfg.Profile == "" && cfg.Signer == nil {
		return nil, fmt.Errorf("ocsp: issuer %s: a certificate, and a profile or a signer, are needed", cfg.Name)
	}
	bits, err := keyBits(cfg.Certificate)
	if err != nil {
		return nil, fmt.Errorf("ocsp: issuer %s: %w", cfg.Name, err)
	}
	is := &issuer{name: cfg.Name, number: uint16(number), cert: cfg.Certificate, profile: cfg.Profile}
	if is.keyID, err = identity.KeyIDOf(cfg.Certificate.PublicKey); err != nil {
		return nil, fmt.Errorf("ocsp: issuer %s: %w", cfg.Name, err)
	}
	if cfg.Signer != nil {
		if is.own, err = newSigner(cfg.Signer, cfg.Certificate); err != nil {
			return nil, fmt.Errorf("ocsp: issuer %s: %w", cfg.Name, err)
		}
	}
	name1, key1 := sha1.Sum(cfg.Certificate.RawSubject), sha1.Sum(bits) //nolint:gosec // see the import
	name2, key2 := sha256.Sum256(cfg.Certificate.RawSubject), sha256.Sum256(bits)
	copy(is.names[0].name[:], name1[:])
	copy(is.names[0].key[:], key1[:])
	is.names[1] = issuerHash{sha256: true, name: name2, key: key2}
	for v := range variants {
		oid, name, key := oidSHA1, name1[:], key1[:]
		if v >= sha256Null {
			oid, name, key = oidSHA256, name2[:], key2[:]
		}
		is.ids[v] = issuerPart(oid, v == sha1Null || v == sha256Null, name, key)
	}
	return is, nil
}

// issuerPart is a CertID without its SEQUENCE header and its serial.
func issuerPart(oid []byte, withNull bool, name, key []byte) []byte {
	algorithm := tlv(asn1.SEQUENCE, oid)
	if withNull {
		algorithm = tlv(asn1.SEQUENCE, oid, null)
	}
	return slices.Concat(algorithm, tlv(asn1.OCTET_STRING, name), tlv(asn1.OCTET_STRING, key))
}

// certID is the DER of the CertID of one of the issuer's serials.
func (is *issuer) certID(v variant, serial identity.Serial) []byte {
	n := serial[:]
	for len(n) > 1 && n[0] == 0 && n[1]&0x80 == 0 {
		n = n[1:]
	}
	return tlv(asn1.SEQUENCE, is.ids[v], tlv(asn1.INTEGER, n))
}

// hashOf is the issuer that a CertID names; false: by a hash that is not
// known, or of the wrong length.
func hashOf(id *certID) (issuerHash, bool) {
	var h issuerHash
	size := sha1.Size
	switch id.variant {
	case sha1Null, sha1Bare:
	case sha256Null, sha256Bare:
		h.sha256, size = true, sha256.Size
	default:
		return h, false
	}
	if len(id.nameHash) != size || len(id.keyHash) != size {
		return h, false
	}
	copy(h.name[:], id.nameHash)
	copy(h.key[:], id.keyHash)
	return h, true
}

// errNoSigner: there is neither a valid responder certificate nor a stand-in.
var errNoSigner = errors.New("no valid responder certificate")

// signer is what signs the issuer's answers at a time. A delegated certificate
// must outlive the shortest answer.
func (is *issuer) signer(now time.Time) (*signer, error) {
	if s := is.delegated.Load(); s != nil && now.Add(minLifetime).Before(s.notAfter) {
		return s, nil
	}
	if is.own != nil && now.Before(is.own.notAfter) {
		return is.own, nil
	}
	return nil, errNoSigner
}
