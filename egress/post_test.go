package egress_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"testing"

	"github.com/certwright/certwright/egress"
)

// TestPost sends a body under the rules of Get.
func TestPost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, r.Method+" "+r.Header.Get("Content-Type")+" "+string(body))
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.New(egress.Config{Ports: []int{port}, MaxBytes: 32})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(t.Context(), server.URL, "text/plain", []byte("hello"), egress.Options{})
	if err != nil || res.Status != http.StatusConflict || string(res.Body) != "POST text/plain hello" || len(res.Hops) != 1 {
		t.Errorf("%+v %v", res, err)
	}
	res, err = client.Post(t.Context(), server.URL, "text/plain", make([]byte, 100), egress.Options{})
	if err != nil || len(res.Body) != 32 || !res.Truncated {
		t.Errorf("a long answer: %+v %v", res, err)
	}
	res, err = client.Post(t.Context(), server.URL+"/moved", "text/plain", nil, egress.Options{})
	if err != nil || res.Status != http.StatusTemporaryRedirect {
		t.Errorf("a redirect: %+v %v", res, err)
	}
	denied, err := egress.New(egress.Config{Ports: []int{port}, Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := denied.Post(t.Context(), server.URL, "text/plain", nil, egress.Options{}); err == nil {
		t.Errorf("a denied network was contacted: %+v", res)
	}
}
