package acme

import (
	"context"
	"net/http"
	"strings"
)

// directory answers with the directory (RFC 8555 §7.1.1).
func (s *Server) directory(_ context.Context, q *request) error {
	type meta struct {
		Terms    string            `json:"termsOfService,omitempty"`
		Website  string            `json:"website,omitempty"`
		CAA      []string          `json:"caaIdentities,omitempty"`
		Binding  bool              `json:"externalAccountRequired"`
		Profiles map[string]string `json:"profiles,omitempty"`
	}
	profiles := map[string]string{}
	for _, p := range s.policy().ACMEProfiles() {
		profiles[p.Name] = "keys: " + strings.Join(p.Keys, ", ") + "; valid for " + p.Validity.Default.String() +
			", at most " + p.Validity.Max.String()
	}
	return q.json(http.StatusOK, struct {
		NewNonce    string `json:"newNonce"`
		NewAccount  string `json:"newAccount"`
		NewOrder    string `json:"newOrder"`
		NewAuthz    string `json:"newAuthz"`
		RevokeCert  string `json:"revokeCert"`
		KeyChange   string `json:"keyChange"`
		RenewalInfo string `json:"renewalInfo"`
		Meta        meta   `json:"meta"`
	}{
		s.base + "/new-nonce", s.base + "/new-account", s.base + "/new-order", s.base + "/new-authz",
		s.base + "/revoke-cert", s.base + "/key-change", s.base + "/renewal-info",
		meta{s.config.Terms, s.config.Website, s.config.IssuerDomains, s.config.EAB == EABRequired, profiles},
	})
}

// newNonce answers with a fresh nonce (RFC 8555 §7.2).
func (s *Server) newNonce(_ context.Context, q *request) error {
	h := q.w.Header()
	h.Set("Replay-Nonce", s.nonces.Make())
	h.Set("Cache-Control", "no-store")
	status := http.StatusNoContent
	if q.r.Method == http.MethodHead {
		status = http.StatusOK
	}
	q.w.WriteHeader(status)
	return nil
}
