package ocsp

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// message is a request to build, right or wrong.
type message struct {
	ids        [][]byte
	version    []byte // DER in [0]; nil: none
	name       []byte // DER in [1]; nil: none
	single     []byte // DER in [0] of each Request; nil: none
	nonce      []byte // nil: none
	extensions [][]byte
	emptyList  bool   // extensions without one
	signature  []byte // DER in [0]; nil: none
}

func build(t testing.TB, m message) []byte {
	t.Helper()
	b := cryptobyte.NewBuilder(nil)
	tagged := func(b *cryptobyte.Builder, tag uint8, der []byte) {
		if der != nil {
			b.AddASN1(explicit0+cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(der) })
		}
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			tagged(b, 0, m.version)
			tagged(b, 1, m.name)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, id := range m.ids {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(id)
						tagged(b, 0, m.single)
					})
				}
			})
			if m.nonce == nil && m.extensions == nil && !m.emptyList {
				return
			}
			b.AddASN1(explicit2, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, e := range m.extensions {
						b.AddBytes(e)
					}
					if m.nonce != nil {
						b.AddBytes(extension(oidNonce, false, tlv(cbasn1.OCTET_STRING, m.nonce)))
					}
				})
			})
		})
		tagged(b, 0, m.signature)
	})
	return b.BytesOrPanic()
}

// extension is the DER of an Extension.
func extension(oid []byte, critical bool, value []byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(value)
	})
	return b.BytesOrPanic()
}

// sequence is a SEQUENCE of parts.
func sequence(parts ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

// The types with which encoding/asn1 reads a whole response.
type (
	wholeResponse struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,tag:0"`
	}
	basicResponse struct {
		Data         responseData
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	responseData struct {
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []singleResponse
		Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	singleResponse struct {
		ID         asn1.RawValue
		Status     asn1.RawValue
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
)

func readBasic(t testing.TB, der []byte) basicResponse {
	t.Helper()
	var whole wholeResponse
	var basic basicResponse
	if rest, err := asn1.Unmarshal(der, &whole); err != nil || len(rest) > 0 || whole.Status != 0 {
		t.Fatalf("response %x: status %d, %v", der, whole.Status, err)
	}
	if rest, err := asn1.Unmarshal(whole.Bytes.Basic, &basic); err != nil || len(rest) > 0 {
		t.Fatalf("basic response: %v", err)
	}
	return basic
}
