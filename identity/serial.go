package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// SerialSize is the length of a Serial in octets (RFC 5280 §4.1.2.2 allows 20).
const SerialSize = 16

// Serial is a certificate serial number: 6 octets of Unix milliseconds with the
// top bit clear, then 10 octets from the CSPRNG. Nearly sequential, so that the
// storage's trees grow at their edge; 80 random bits, so that none can be guessed.
type Serial [SerialSize]byte

// NewSerial makes a serial for time now. crypto/rand never fails.
func NewSerial(now time.Time) Serial {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	var s Serial
	copy(s[:6], ms[2:])
	s[0] &= 0x7f
	_, _ = rand.Read(s[6:])
	return s
}

// SerialFromBig is the Serial with the value n. A number that is not positive
// or is longer than SerialSize is not one of ours.
func SerialFromBig(n *big.Int) (Serial, error) {
	var s Serial
	if n == nil || n.Sign() <= 0 || n.BitLen() > 8*SerialSize-1 {
		return s, errors.New("serial is not a positive number of at most 127 bits")
	}
	n.FillBytes(s[:])
	return s, nil
}

// ParseSerial reads hexadecimal digits, bare or as octets with colons between.
func ParseSerial(text string) (Serial, error) {
	digits := text
	if strings.Contains(text, ":") {
		octets := strings.Split(text, ":")
		for _, octet := range octets {
			if len(octet) != 2 {
				return Serial{}, fmt.Errorf("serial %.64q is not octets with colons between", text)
			}
		}
		digits = strings.Join(octets, "")
	}
	if len(digits) == 0 || len(digits) > 2*SerialSize {
		return Serial{}, fmt.Errorf("serial %.64q is not 1 to %d hexadecimal digits", text, 2*SerialSize)
	}
	octets, err := hex.DecodeString(strings.Repeat("0", 2*SerialSize-len(digits)) + digits)
	if err != nil {
		return Serial{}, fmt.Errorf("serial %.64q is not hexadecimal", text)
	}
	return SerialFromBig(new(big.Int).SetBytes(octets))
}

// Big is the serial as the number that stands in the certificate.
func (s Serial) Big() *big.Int { return new(big.Int).SetBytes(s[:]) }

// String is the serial as 32 lower-case hexadecimal digits.
func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// Random is the part of the serial that came from the CSPRNG: 10 octets.
func (s Serial) Random() []byte { return s[6:] }

// KeyID names a public key everywhere in Certwright: the SHA-256 of its
// DER-encoded SubjectPublicKeyInfo. An issuer is named by the KeyID of its key.
type KeyID [sha256.Size]byte

// KeyIDOf is the KeyID of a public key that crypto/x509 can marshal.
func KeyIDOf(pub any) (KeyID, error) {
	der, err := PublicKeyDER(pub)
	if err != nil {
		return KeyID{}, err
	}
	return sha256.Sum256(der), nil
}

// prefixP256 is what comes before the point in the SubjectPublicKeyInfo of a P-256
// key (RFC 5480 §2).
const prefixP256 = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"

// PublicKeyDER is the SubjectPublicKeyInfo of a public key. Of the keys that nearly
// everybody has it is made without encoding/asn1, which takes five times as long,
// and an issuance needs it many times.
func PublicKeyDER(pub any) ([]byte, error) {
	if key, ok := pub.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
		if point, err := key.Bytes(); err == nil {
			return append(append(make([]byte, 0, len(prefixP256)+len(point)), prefixP256...), point...), nil
		}
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return der, nil
}

// String is the KeyID as 64 lower-case hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }
