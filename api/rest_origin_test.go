package api_test

import (
	"net/http"
	"testing"
)

// TestOtherSitesPages: what a browser sends because another site's page says so is
// refused, whatever it shows; reading and programs are not hindered.
func TestOtherSitesPages(t *testing.T) {
	w := newWorld(t)
	const body = `{"owner":"team-a"}`
	for _, test := range []struct {
		verb, path string
		headers    []string
		refused    bool
	}{
		{http.MethodPost, "/v1/tokens", []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"}, true},
		{http.MethodPost, "/v1/tokens", []string{"Origin", "https://evil.example", "Content-Type", "text/plain"}, true},
		{http.MethodPost, "/v1/sessions", []string{"Sec-Fetch-Site", "same-site"}, true},
		{http.MethodPost, "/v1/tokens", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{http.MethodPost, "/v1/tokens", nil, false},
		{http.MethodGet, "/v1/profiles", []string{"Sec-Fetch-Site", "cross-site"}, false},
	} {
		code, answer, _ := w.request(test.verb, test.path, "", body, test.headers...)
		if (code == http.StatusForbidden) != test.refused || !test.refused && code != http.StatusUnauthorized {
			t.Errorf("%s %s %q: %d %s", test.verb, test.path, test.headers, code, answer)
		}
	}
}
