package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"
	"time"
)

func TestParseSerial(t *testing.T) {
	full := "019a2b3c4d5e6f708192a3b4c5d6e7f8"
	tests := []struct{ in, want string }{
		{full, full},
		{"019A2B3C4D5E6F708192A3B4C5D6E7F8", full},
		{"01:9a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:f8", full},
		{"1", "00000000000000000000000000000001"},
		{"0f", "0000000000000000000000000000000f"},
		{"", ""},
		{"0", ""},
		{"00:00", ""},
		{"-1", ""},
		{"+1", ""},
		{"0x1", ""},
		{"1_0", ""},
		{" 1", ""},
		{":", ""},
		{"1:2", ""},
		{"::01", ""},
		{"01:", ""},
		{"g1", ""},
		{"80000000000000000000000000000000", ""}, // would be negative in DER without a leading zero
		{full + "0", ""},
	}
	for _, test := range tests {
		got, err := ParseSerial(test.in)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q is taken as %s", test.in, got)
		case test.want != "" && (err != nil || got.String() != test.want):
			t.Errorf("%q is %s (%v), want %s", test.in, got, err, test.want)
		}
	}
}

func TestNewSerial(t *testing.T) {
	now := time.UnixMilli(0x019a2b3c4d5e)
	a, b := NewSerial(now), NewSerial(now)
	if a == b {
		t.Error("two serials are equal")
	}
	if a.String()[:12] != "019a2b3c4d5e" {
		t.Errorf("%s does not begin with the time", a)
	}
	if len(a.Random()) < 8 {
		t.Errorf("%d random octets: 8 are needed", len(a.Random()))
	}
	late := NewSerial(time.UnixMilli(1<<48 - 1))
	if late.Big().BitLen() > 127 {
		t.Errorf("%s is not positive in 16 octets", late)
	}
	if back, err := SerialFromBig(a.Big()); err != nil || back != a {
		t.Errorf("%s comes back as %s (%v)", a, back, err)
	}
}

func TestSerialFromBig(t *testing.T) {
	for _, n := range []*big.Int{nil, big.NewInt(0), big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 127)} {
		if s, err := SerialFromBig(n); err == nil {
			t.Errorf("%v is taken as %s", n, s)
		}
	}
}

func TestKeyID(t *testing.T) {
	pub := ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))
	id, err := KeyIDOf(pub)
	if err != nil || len(id.String()) != 64 {
		t.Errorf("key ID %s (%v)", id, err)
	}
	if _, err := KeyIDOf("no key"); err == nil {
		t.Error("a text has a key ID")
	}
}

// TestPublicKeyDER: whatever makes the octets, they are crypto/x509's.
func TestPublicKeyDER(t *testing.T) {
	var keys []any
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.Public())
	}
	keys = append(keys, ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	for _, key := range keys {
		got, err := PublicKeyDER(key)
		want, _ := x509.MarshalPKIXPublicKey(key)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%T: %x (%v), want %x", key, got, err, want)
		}
	}
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // no parser makes such a key
	for _, key := range []any{off, "no key", nil, (*rsa.PrivateKey)(nil)} {
		if der, err := PublicKeyDER(key); err == nil {
			t.Errorf("%v has the octets %x", key, der)
		}
	}
}

func FuzzParseSerial(f *testing.F) {
	for _, seed := range []string{"1", "01:02", "ff", "019a2b3c4d5e6f708192a3b4c5d6e7f8", "-1", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSerial(text)
		if err != nil {
			return
		}
		if s.Big().Sign() <= 0 || s.Big().BitLen() > 127 {
			t.Errorf("%q is %s, which is not positive in 16 octets", text, s)
		}
		if back, err := ParseSerial(s.String()); err != nil || back != s {
			t.Errorf("%s comes back as %s (%v)", s, back, err)
		}
	})
}
