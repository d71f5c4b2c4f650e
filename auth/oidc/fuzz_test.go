package oidc

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzPeek: whatever a caller sends, what is read of it is within the bounds, and
// is what encoding/json reads.
func FuzzPeek(f *testing.F) {
	encode := base64.RawURLEncoding.EncodeToString
	for _, seed := range [][2]string{
		{`{"alg":"ES256","kid":"a","typ":"JWT"}`, `{"iss":"https://a.x","aud":["b"],"exp":1.5e9,"sub":"s","n":{"m":[1,true,null,"x"]}}`},
		{`{"alg":"none"}`, `{"iss":"a"}`}, {`{"alg":"ES256","alg":"none"}`, `{}`}, {`{"alg":1}`, `[]`}, {`{"alg":"ES256","crit":[]}`, `{"iss":1}`},
		{``, ``}, {`{"alg":"ES256"`, `{"iss":"a","iss":"b"}`}, {`{"alg":"ES256"}`, `{"a":[[[[[[[[[[1]]]]]]]]]]}`},
	} {
		f.Add(encode([]byte(seed[0])) + "." + encode([]byte(seed[1])) + "." + encode([]byte("s")))
	}
	f.Add("..")
	f.Add("eyJ.eyJ.")
	f.Add(strings.Repeat(".", 9000))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := peek(text)
		if err != nil {
			return
		}
		if len(text) > maxToken || p.alg == "" || p.issuer == "" || len(p.kid) > maxKeyID || strings.Count(text, ".") != 2 {
			t.Fatalf("%+v", p)
		}
		parts := strings.Split(text, ".")
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(string(payload)))
		decoder.UseNumber()
		var want map[string]any
		if err := decoder.Decode(&want); err != nil || !reflect.DeepEqual(want, p.claims) {
			t.Fatalf("%v: %v, encoding/json reads %v", err, p.claims, want)
		}
		if s, err := readStandard(p.claims); err == nil && (s.subject == "" || len(s.audiences) == 0 || s.expires.IsZero()) {
			t.Fatalf("%+v", s)
		}
		if _, err := flatten(p.claims); err == nil && len(idOf(p.issuer, "s")) > maxIssuer+100 {
			t.Fatal("long")
		}
	})
}

// FuzzKeys: a key set is a provider's, and a provider may be hostile.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},null,{}]}`))
	f.Add([]byte(`{"keys":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeys(data)
		if err == nil && len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			if len(key.algorithms) == 0 || key.key == nil {
				t.Fatalf("%+v", key)
			}
		}
	})
}
