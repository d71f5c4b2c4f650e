package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

// compact is a JWS whose header needs no check here.
func compact(t *testing.T, algorithm, text string) *Message {
	t.Helper()
	cut := strings.LastIndex(text, ".")
	return &Message{Algorithm: algorithm, input: text[:cut], signature: octets(t, text[cut+1:])}
}

func octets(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func publicKey(t *testing.T, text string) any {
	t.Helper()
	key, err := ParseKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key.Key
}

// TestVectors are the examples of RFC 7515 A.1 and A.3 and of RFC 8037 A.4.
func TestVectors(t *testing.T) {
	for algorithm, vector := range map[string]struct {
		text string
		key  any
	}{
		"HS256": {"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
			octets(t, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")},
		"ES256": {"eyJhbGciOiJFUzI1NiJ9." + claims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
			publicKey(t, `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`)},
		"EdDSA": {"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
			publicKey(t, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)},
	} {
		m := compact(t, algorithm, vector.text)
		if err := m.Verify(vector.key); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		for _, at := range []int{0, len(m.signature) / 2, len(m.signature) - 1} {
			m.signature[at] ^= 1
			if err := m.Verify(vector.key); !errors.Is(err, ErrSignature) {
				t.Errorf("%s with another octet %d: %v", algorithm, at, err)
			}
			m.signature[at] ^= 1
		}
		m.input += "A"
		if err := m.Verify(vector.key); !errors.Is(err, ErrSignature) {
			t.Errorf("%s of another payload: %v", algorithm, err)
		}
	}
}

// TestSignatureForms has one form of an ECDSA signature verify, R || S.
func TestSignatureForms(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(signed(t, jose.ES256, key, "{}"), Request)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(key.Public()); err != nil {
		t.Fatal(err)
	}
	good := m.signature
	sum := sha256.Sum256([]byte(m.input))
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string][]byte{
		"DER": der, "cut": good[:63], "half": good[:32], "longer": append(slices.Clone(good), 0), "leading zero": append([]byte{0}, good...),
		"zero": make([]byte, 64), "zero S": append(slices.Clone(good[:32]), make([]byte, 32)...), "all ones": []byte(strings.Repeat("\xff", 64)),
		"wide zeros": append(append(make([]byte, 16), good[:32]...), append(make([]byte, 16), good[32:]...)...),
	} {
		m.signature = form
		if err := m.Verify(key.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConfusion has no key verify what another kind of key could have made.
func TestConfusion(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	algorithms := append(Algorithms(), hmacAlgorithm, "none", "")
	for _, key := range []any{p256.Public(), point, p521.Public(), p256, ed25519.PublicKey("short"), nil, "text"} {
		for _, algorithm := range algorithms {
			m := &Message{Algorithm: algorithm, input: "e30.e30", signature: make([]byte, 64)}
			if err := m.Verify(key); err == nil {
				t.Errorf("%T verifies %q", key, algorithm)
			}
		}
	}
}

// BenchmarkVerify is a request that names its account.
func BenchmarkVerify(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{
		ExtraHeaders: map[jose.HeaderKey]any{"url": "https://ca.internal/acme/new-order", "nonce": "AAAA", "kid": "https://ca.internal/acme/account/1"},
	})
	if err != nil {
		b.Fatal(err)
	}
	request, err := signer.Sign([]byte(`{"identifiers":[{"type":"dns","value":"a.internal"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(request.FullSerialize())
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(data, Request)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Verify(key.Public()); err != nil {
			b.Fatal(err)
		}
	}
}
