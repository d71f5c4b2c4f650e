package login

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzCallback: whatever comes to the listener, only the login's state is listened
// to, and what is told is one printable line.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"state=s&code=c&iss=https://idp.x", "state=s&error=x&error_description=%00%1b[31m", "state=s&state=s&code=c", "code=c", "%zz", "state=s;code=c", ""} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, namesItself bool) {
		w := newWaiter("127.0.0.1:1", "s", "https://idp.x", namesItself)
		code, err := w.parse(raw)
		if err != nil {
			if strings.IndexFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) >= 0 || len(err.Error()) > 400 {
				t.Errorf("%q", err)
			}
			return
		}
		q, err := url.ParseQuery(raw)
		if err != nil || q.Get("state") != "s" || code == "" || len(code) > maxCode || q.Get("code") != code || namesItself && q.Get("iss") != w.issuer {
			t.Errorf("%q gives %q", raw, code)
		}
	})
}

// FuzzAnswers: a provider's discovery document, token answer and device answer.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"issuer":"https://idp.x","token_endpoint":"https://idp.x/t","device_authorization_endpoint":"https://idp.x/d","code_challenge_methods_supported":["S256"]}`,
		`{"device_code":"d","user_code":"U","verification_uri":"https://idp.x/a","expires_in":9223372036854775807,"interval":-1}`,
		`{"id_token":"a.eyJpc3MiOiJodHRwczovL2lkcC54IiwiYXVkIjpbImMiXX0.b"}`, `{"error":"slow_down"}`, `null`, `[]`, `{"expires_in":1e400}`, `{"aud":{}}`,
	} {
		f.Add([]byte(seed), 200)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if e, err := parseEndpoints(body, "https://idp.x"); err == nil && (checkURL(e.Token) != nil || e.Device != "" && checkURL(e.Device) != nil || e.Issuer != "https://idp.x") {
			t.Errorf("%+v", e)
		}
		if d, err := parseDevice(status, body); err == nil {
			if d.life() <= 0 || d.life() > maxDeviceLife || d.interval() < minInterval || d.interval() > maxInterval || checkURL(d.URI) != nil || len(d.UserCode) > maxUserCode {
				t.Errorf("%+v", d)
			}
		}
		if token, err := parseToken(status, body); err == nil {
			_ = checkToken(token, "https://idp.x", "c", "n") // must not panic
		}
		if err := checkToken("a."+string(body)+".b", "https://idp.x", "c", ""); err == nil && len(body) > maxToken {
			t.Error("long")
		}
	})
}

// FuzzIDToken: what is taken has the issuer, the client and the nonce.
func FuzzIDToken(f *testing.F) {
	for _, seed := range []string{"eyJpc3MiOiJodHRwczovL2lkcC54IiwiYXVkIjpbImMiXSwibm9uY2UiOiJuIn0", "", "e30", "bnVsbA", "eyJhdWQiOjF9"} {
		f.Add("a." + seed + ".b")
	}
	f.Fuzz(func(t *testing.T, token string) {
		if checkToken(token, "https://idp.x", "c", "n") == nil && (len(token) > maxToken || strings.Count(token, ".") != 2) {
			t.Errorf("%q", token)
		}
	})
}

func TestDeviceBounds(t *testing.T) {
	for _, test := range []struct {
		d              device
		life, interval time.Duration
	}{
		{device{ExpiresIn: 1 << 62, Interval: 1 << 62}, maxDeviceLife, maxInterval},
		{device{ExpiresIn: 1, Interval: -1 << 62}, time.Second, defaultInterval},
		{device{ExpiresIn: 60, Interval: 2}, time.Minute, 2 * time.Second},
	} {
		if test.d.life() != test.life || test.d.interval() != test.interval {
			t.Errorf("%+v: %s %s", test.d, test.d.life(), test.d.interval())
		}
	}
}
