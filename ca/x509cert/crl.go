package x509cert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/storage"
)

// CRL is what a certificate revocation list shall say (RFC 5280 §5).
type CRL struct {
	Number     uint64 // §5.2.3
	ThisUpdate time.Time
	NextUpdate time.Time
	// URLs are the distribution point of the one shard that the list is of, each a
	// name of it that certificates have, in its critical issuingDistributionPoint
	// (§5.2.5), which says also that the list has end-entity certificates only. None:
	// the list is complete.
	URLs    []string
	Revoked []storage.Revoked
}

// SignCRL makes and signs a CRL in DER. It is read back, verified under the
// issuer and linted by RFC 5280's lints before it is returned; a lint's error is
// Internal with a violation each: our own fault.
func (l *Linter) SignCRL(is *Issuer, list CRL) ([]byte, error) {
	tbs, err := list.tbs(is)
	if err != nil {
		return nil, fmt.Errorf("CRL: %w", err)
	}
	signature, err := is.sign(tbs)
	if err != nil {
		return nil, fmt.Errorf("CRL: sign: %w", err)
	}
	der, err := is.assemble(tbs, signature)
	if err != nil {
		return nil, fmt.Errorf("CRL: %w", err)
	}
	if err := l.checkCRL(is, der, list); err != nil {
		return nil, fmt.Errorf("CRL: %w", err)
	}
	return der, nil
}

// tbs is the TBSCertList.
func (list CRL) tbs(is *Issuer) ([]byte, error) {
	entries := make([]byte, 0, 64*len(list.Revoked))
	for i := range list.Revoked {
		entries = appendEntry(entries, list.Revoked[i])
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(entries)+512))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1) // v2
		b.AddBytes(is.algorithm)
		b.AddBytes(is.cert.RawSubject)
		addTime(b, list.ThisUpdate)
		addTime(b, list.NextUpdate)
		if len(entries) > 0 {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(entries) })
		}
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addAuthorityKeyID(b, is.cert.SubjectKeyId)
				addExtension(b, oidCRLNumber, false, func(b *cryptobyte.Builder) { b.AddASN1Uint64(list.Number) })
				addDistributionPoint(b, list.URLs)
			})
		})
	})
	return b.Bytes()
}

func addDistributionPoint(b *cryptobyte.Builder, urls []string) {
	if len(urls) == 0 {
		return
	}
	constructed := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).Constructed().ContextSpecific() }
	addExtension(b, oidIssuingPoint, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(constructed(0), func(b *cryptobyte.Builder) { // distributionPoint
				b.AddASN1(constructed(0), func(b *cryptobyte.Builder) { // fullName
					for _, url := range urls {
						addURI(b, url)
					}
				})
			})
			b.AddASN1(cbasn1.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddUint8(0xff) }) // onlyContainsUserCerts
		})
	})
}

// reasonHead is a crlEntryExtensions with a reasonCode (§5.3.1), without its last
// octet, the reason.
const reasonHead = "\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01"

// appendEntry appends one revokedCertificate; a list has many, so that they are
// written by hand. An unspecified reason is left out (§5.3.1).
func appendEntry(out []byte, r storage.Revoked) []byte {
	serial := r.Serial[:]
	for len(serial) > 1 && serial[0] == 0 && serial[1]&0x80 == 0 {
		serial = serial[1:]
	}
	start := len(out)
	out = append(out, 0x30, 0, 0x02, byte(len(serial)))
	out = append(out, serial...)
	at := r.At.UTC()
	if at.Year() >= 2050 {
		out = append(out, 0x18, 15)
		out = at.AppendFormat(out, "20060102150405Z")
	} else {
		out = append(out, 0x17, 13)
		out = at.AppendFormat(out, "060102150405Z")
	}
	if r.Reason != 0 {
		out = append(out, reasonHead...)
		out = append(out, byte(r.Reason))
	}
	out[start+1] = byte(len(out) - start - 2) // at most 58
	return out
}

// checkCRL reads the list as a relying party would.
func (l *Linter) checkCRL(is *Issuer, der []byte, want CRL) error {
	got, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	if err := got.CheckSignatureFrom(is.cert); err != nil {
		return err
	}
	switch {
	case got.Number == nil || !got.Number.IsUint64() || got.Number.Uint64() != want.Number:
		return errors.New("its number does not read back")
	case len(got.RevokedCertificateEntries) != len(want.Revoked):
		return errors.New("its entries do not read back")
	case !got.ThisUpdate.Equal(want.ThisUpdate.Truncate(time.Second)) || !got.NextUpdate.After(got.ThisUpdate):
		return errors.New("its times do not read back")
	}
	for i, e := range got.RevokedCertificateEntries {
		var serial [16]byte
		if e.SerialNumber.BitLen() > 8*len(serial) {
			return fmt.Errorf("entry %d does not read back", i)
		}
		e.SerialNumber.FillBytes(serial[:])
		w := want.Revoked[i]
		if serial != [16]byte(w.Serial) || e.ReasonCode != int(w.Reason) || e.RevocationTime.Unix() != w.At.Unix() {
			return fmt.Errorf("entry %d does not read back", i)
		}
	}
	return l.lintCRL(der)
}

// CRLShape are the facts of a CRL that was signed here.
type CRLShape struct {
	Number                 uint64
	ThisUpdate, NextUpdate time.Time
	Serials                map[[16]byte]struct{}
}

// ReadCRL reads a CRL that was signed here.
func ReadCRL(der []byte) (CRLShape, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return CRLShape{}, fmt.Errorf("CRL: %w", err)
	}
	if list.Number == nil || !list.Number.IsUint64() {
		return CRLShape{}, errors.New("CRL: its number is not one of ours")
	}
	shape := CRLShape{
		Number: list.Number.Uint64(), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
		Serials: make(map[[16]byte]struct{}, len(list.RevokedCertificateEntries)),
	}
	for _, e := range list.RevokedCertificateEntries {
		var serial [16]byte
		if e.SerialNumber.BitLen() > 8*len(serial) {
			return CRLShape{}, errors.New("CRL: a serial is not one of ours")
		}
		e.SerialNumber.FillBytes(serial[:])
		shape.Serials[serial] = struct{}{}
	}
	return shape, nil
}
