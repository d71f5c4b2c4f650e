package x509cert

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
)

// Want is what a certificate shall be: what was asked, what was decided, and
// what the authority adds.
type Want struct {
	Request  identity.Request
	Decision policy.Decision
	Serial   identity.Serial
	Issuer   *Issuer
	URLs     URLs
}

// URLs are the addresses that a certificate names; an empty one is left out.
type URLs struct {
	OCSP      string // RFC 5280 §4.2.2.1, id-ad-ocsp
	CAIssuers string // RFC 5280 §4.2.2.1, id-ad-caIssuers
	CRL       string // RFC 5280 §4.2.1.13
}

// maxCommonName is ub-common-name of RFC 5280 appendix A.1.
const maxCommonName = 64

// Draft is the DER of the TBSCertificate (RFC 5280 §4.1.2), with the signature
// algorithm of the issuer's key: the bytes that are logged and then signed.
func Draft(w Want) ([]byte, error) {
	spki, err := identity.PublicKeyDER(w.Request.PublicKey)
	if err != nil {
		return nil, err
	}
	usages, err := keyUsage(w.Decision.Profile.KeyUsage)
	if err != nil {
		return nil, err
	}
	extUsages, err := extKeyUsages(w.Decision.Profile.ExtKeyUsage)
	if err != nil {
		return nil, err
	}
	cn := commonName(w.Request.Identifiers)
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
		b.AddASN1BigInt(w.Serial.Big())
		b.AddBytes(w.Issuer.algorithm)
		b.AddBytes(w.Issuer.cert.RawSubject)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, w.Decision.NotBefore)
			addTime(b, w.Decision.NotAfter)
		})
		addSubject(b, cn)
		b.AddBytes(spki)
		b.AddASN1(cbasn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addKeyUsage(b, usages)
				addExtKeyUsages(b, extUsages)
				addExtension(b, oidBasicConstraints, true, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {}) // cA FALSE is the default
				})
				addAuthorityKeyID(b, w.Issuer.cert.SubjectKeyId)
				addAuthorityInfo(b, w.URLs)
				addNames(b, w.Request.Identifiers, cn == "")
				addCRLPoint(b, w.URLs.CRL)
				if slices.Contains(w.Decision.Profile.ExtKeyUsage, ocspSigning) {
					addExtension(b, oidNoCheck, false, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
				}
			})
		})
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	return tbs, nil
}

// commonName is the first DNS name that fits: the subjectAltName is what counts
// (RFC 9525 §2), some old clients show the common name.
func commonName(names []identity.Identifier) string {
	for _, n := range names {
		if n.Type == identity.DNS && len(n.Value) <= maxCommonName {
			return n.Value
		}
	}
	return ""
}

// addTime: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if t.Year() >= 2050 {
		b.AddASN1GeneralizedTime(t)
		return
	}
	b.AddASN1UTCTime(t)
}

func addSubject(b *cryptobyte.Builder, cn string) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if cn == "" {
			return
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidCommonName)
				b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(cn)) })
			})
		})
	})
}

func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value cryptobyte.BuilderContinuation) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cbasn1.OCTET_STRING, value)
	})
}

// addKeyUsage writes the named-bit list without trailing zero bits (X.690
// §11.2.2); bit 0 is the most significant of the first octet.
func addKeyUsage(b *cryptobyte.Builder, usage x509.KeyUsage) {
	if usage == 0 {
		return
	}
	var bits [2]byte
	last := 0
	for i := range 9 {
		if usage&(1<<i) != 0 {
			bits[i/8] |= 0x80 >> (i % 8)
			last = i
		}
	}
	addExtension(b, oidKeyUsage, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(uint8(7 - last%8))
			b.AddBytes(bits[:last/8+1])
		})
	})
}

func addExtKeyUsages(b *cryptobyte.Builder, oids []asn1.ObjectIdentifier) {
	if len(oids) == 0 {
		return
	}
	addExtension(b, oidExtKeyUsage, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, oid := range oids {
				b.AddASN1ObjectIdentifier(oid)
			}
		})
	})
}

func addAuthorityKeyID(b *cryptobyte.Builder, id []byte) {
	addExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(id) })
		})
	})
}

func addAuthorityInfo(b *cryptobyte.Builder, urls URLs) {
	if urls.OCSP == "" && urls.CAIssuers == "" {
		return
	}
	access := func(b *cryptobyte.Builder, method asn1.ObjectIdentifier, url string) {
		if url == "" {
			return
		}
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(method)
			addURI(b, url)
		})
	}
	addExtension(b, oidAuthorityInfo, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			access(b, oidOCSP, urls.OCSP)
			access(b, oidCAIssuers, urls.CAIssuers)
		})
	})
}

func addURI(b *cryptobyte.Builder, uri string) {
	b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
}

// addNames writes the subjectAltName, critical if there is no other subject
// (RFC 5280 §4.2.1.6).
func addNames(b *cryptobyte.Builder, names []identity.Identifier, critical bool) {
	addExtension(b, oidSubjectAltName, critical, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, n := range names {
				addName(b, n)
			}
		})
	})
}

func addName(b *cryptobyte.Builder, n identity.Identifier) {
	var tag cbasn1.Tag
	value := []byte(n.Value)
	switch n.Type {
	case identity.Email:
		tag = 1
	case identity.DNS:
		tag = 2
	case identity.URI:
		tag = 6
	case identity.IP:
		addr, err := netip.ParseAddr(n.Value)
		if err != nil {
			b.SetError(err)
			return
		}
		tag, value = 7, addr.AsSlice()
	default:
		b.SetError(fmt.Errorf("identifier type %.32q is not issued", n.Type))
		return
	}
	b.AddASN1(tag.ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(value) })
}

func addCRLPoint(b *cryptobyte.Builder, url string) {
	if url == "" {
		return
	}
	constructed := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).Constructed().ContextSpecific() }
	addExtension(b, oidCRLPoints, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(constructed(0), func(b *cryptobyte.Builder) { // distributionPoint
					b.AddASN1(constructed(0), func(b *cryptobyte.Builder) { addURI(b, url) }) // fullName
				})
			})
		})
	})
}
