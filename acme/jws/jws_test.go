package jws

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signed is a request as go-jose's signer makes it.
func signed(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload string) []byte {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{
		EmbedJWK: true, ExtraHeaders: map[jose.HeaderKey]any{"url": "https://ca.internal/acme/new-account", "nonce": "AAAA"},
	})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(obj.FullSerialize())
}

func TestVerify(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[jose.SignatureAlgorithm]any{jose.ES256: p256, jose.ES384: p384, jose.EdDSA: ed, jose.RS256: rsa2048} {
		m, err := Parse(signed(t, algorithm, key, "{}"), Request)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		if err := m.Verify(m.Key.Key); err != nil || string(m.Payload) != "{}" || m.Nonce != "AAAA" {
			t.Errorf("%s: %v, %+v", algorithm, err, m)
		}
		if err := m.Verify(p384.Public()); algorithm != jose.ES384 && err == nil {
			t.Errorf("%s verifies by another key", algorithm)
		}
	}
	for _, algorithm := range []jose.SignatureAlgorithm{jose.PS256, jose.RS384, jose.RS512} {
		var wrong *AlgorithmError
		if _, err := Parse(signed(t, algorithm, rsa2048, "{}"), Request); !errors.As(err, &wrong) || len(wrong.Allowed) == 0 {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestCheckObject(t *testing.T) {
	for text, good := range map[string]bool{
		`{}`: true, ` {"a":[1,{"b":2}],"b":{"a":null}} `: true, `{"a":1,"b":{"a":1}}`: true, `[{"a":1}]`: false,
		`{"a":1,"a":2}`: false, `{"a":1,"A":2}`: false, `{"a":{"b":1,"b":2}}`: false, `{"a":[{"b":1,"b":2}]}`: false,
		`{"a":1,"\u0061":2}`: false, `{"k":1,"` + "\u212a" + `":2}`: false, `{"s":1,"ſ":2}`: false, ``: false, `null`: false,
		`{}{}`: false, `{"a":1,}`: false, `{'a':1}`: false, `{"a":01}`: false, "{\"a\":\"\n\"}": false, `{"a":"\ud800"}`: true,
		`{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`:       true,
		`{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`:       false,
		`{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`: false,
		`{"a":"\"}","b":"{\"a\":1"}`:                                            true, `{"a":tru}`: false, `{"":1,"":2}`: false, `{"a" : [ 1 , 2 ] , "b" : { } }`: true,
	} {
		if err := CheckObject([]byte(text)); (err == nil) != good {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// FuzzParse has no text crash the parser, and none that it takes be read another
// way by go-jose.
func FuzzParse(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed(f, jose.ES256, key, `{"termsOfServiceAgreed":true}`))
	f.Add([]byte(`{"protected":"e30","payload":"","signature":"AA"}`))
	f.Add([]byte(`{"payload":"","signatures":[{"protected":"e30","signature":"AA"}]}`))
	f.Add([]byte("e30.e30.AA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, use := range []Use{Request, KeyRoll, Binding} {
			m, err := Parse(data, use)
			if err != nil {
				continue
			}
			if (m.KeyID == "") == (m.Key == nil) || m.URL == "" {
				t.Errorf("%+v", m)
			}
			again, err := jose.ParseSignedJSON(string(data), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(m.Algorithm)})
			if err != nil {
				continue
			}
			if !bytes.Equal(again.UnsafePayloadWithoutVerification(), m.Payload) || len(again.Signatures) != 1 {
				t.Errorf("go-jose reads another payload: %q", data)
			}
		}
	})
}

// FuzzCheckObject holds it against encoding/json: what it takes, that takes.
func FuzzCheckObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,2,{"b":null}]}`, `{"a":1,"a":2}`, `{"a":"\u0061\""}`, ` { } `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if CheckObject(data) != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Errorf("%q: %v", data, err)
		}
	})
}
