package api_test

import (
	"encoding/json"
	"testing"
)

// TestProblemsAreDescribed: no error has a member that the OpenAPI document does not
// describe, and every member that is described is answered somewhere.
func TestProblemsAreDescribed(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(10)
	_, text, _ := w.request("GET", "/openapi.json", "", "")
	var document struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties map[string]any
				}
			}
		}
	}
	w.must(json.Unmarshal(text, &document))
	described := document.Components.Schemas.Problem.Properties
	if len(described) == 0 {
		t.Fatal("the document has no problem")
	}
	seen := map[string]bool{}
	for _, each := range []struct{ verb, path, secret, body string }{
		{"GET", "/nothing", "", ""}, {"PUT", "/v1/certificates", "", ""}, {"GET", "/v1/certificates", "", ""},
		{"GET", "/v1/certificates", secret, ""}, {"GET", "/v1/certificates/" + someID, secret, ""},
		{"POST", "/v1/certificates:sign", secret, "{"}, {"POST", "/v1/certificates:sign", secret, `{"csr":"x","requestId":"\n"}`},
		{"POST", "/v1/certificates:sign", secret, `{"csr":` + jsonText(w.csr("evil.example.com")) + `}`},
	} {
		_, answer, _ := w.request(each.verb, each.path, each.secret, each.body)
		var members map[string]any
		w.must(json.Unmarshal(answer, &members))
		for name := range members {
			seen[name] = true
			if described[name] == nil {
				t.Errorf("%s %s: %s is not described", each.verb, each.path, name)
			}
		}
	}
	for name := range described {
		if !seen[name] {
			t.Errorf("%s is never answered", name)
		}
	}
}
