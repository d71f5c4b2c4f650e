package api

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

// TestNameOfCertificates: what a person knows a certificate by, whether the claims are
// fresh or come back from the store.
func TestNameOfCertificates(t *testing.T) {
	for want, claims := range map[string]map[string]any{
		"spiffe://x/web (serial 0a)": {"uri": []string{"https://x", "spiffe://x/web"}, "dns": []string{"web.x"}, "common_name": "web", "serial": "0a"},
		"spiffe://x/db (serial 0a)":  {"uri": []any{"spiffe://x/db"}, "serial": "0a"},
		"web.x (serial 0b)":          {"uri": []string{"https://x"}, "dns": []any{"web.x", "w.x"}, "common_name": "web", "serial": "0b"},
		"web (serial 0c)":            {"common_name": "web", "name": "10.0.0.1", "serial": "0c"},
		"10.0.0.1 (serial 0d)":       {"ip": []string{"10.0.0.1"}, "name": "10.0.0.1", "serial": "0d"},
		"(serial 0e)":                {"dns": []string{strings.Repeat("x", 257)}, "serial": "0e"},
		"ops.x":                      {"dns": []string{"ops.x"}},
		"":                           {"dns": 1},
	} {
		for _, method := range []identity.Method{identity.MTLS, identity.Device} {
			if got := nameOf(identity.Principal{Method: method, Claims: claims}); got != want {
				t.Errorf("%v: %q, want %q", claims, got, want)
			}
		}
	}
	if got := nameOf(identity.Principal{Method: identity.OIDC, Claims: map[string]any{"email": "jane@x", "dns": "web.x", "serial": "0a"}}); got != "jane@x" {
		t.Error(got)
	}
}
