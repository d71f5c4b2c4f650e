package e2e

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// caddyCells are Debian's caddy: each cell is one run with one name to manage,
// until its certificate is in caddy's storage.
func caddyCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "caddy"
	obtain := func(t *testing.T, operation, owner, home, name, challenge string, eab map[string]string, other string) string {
		t.Helper()
		issuer := map[string]any{
			"module": "acme", "ca": w.directory, "email": me + "@ops.internal", "trusted_roots_pem_files": []string{w.root},
			"challenges": map[string]any{
				"http":      map[string]any{"disabled": challenge != "http-01", "alternate_port": number(w.httpPort)},
				"tls-alpn":  map[string]any{"disabled": challenge != "tls-alpn-01", "alternate_port": number(w.alpn)},
				"bind_host": ip,
			},
		}
		if eab != nil {
			issuer["external_account"] = eab
		}
		config, err := json.Marshal(map[string]any{
			"admin":   map[string]any{"disabled": true},
			"storage": map[string]any{"module": "file_system", "root": filepath.Join(home, "storage")},
			"apps": map[string]any{
				// Caddy's own CA stays out of this machine's trust store.
				"pki": map[string]any{"certificate_authorities": map[string]any{"local": map[string]any{"install_trust": false}}},
				"tls": map[string]any{
					"certificates": map[string]any{"automate": []string{name}},
					// The window is so wide that what was just issued, back-dated by a minute, is due.
					"automation": map[string]any{"policies": []any{map[string]any{
						"subjects": []string{name}, "issuers": []any{issuer}, "renewal_window_ratio": 0.99999,
					}}},
				},
			},
		})
		check(t, err)
		file := filepath.Join(home, operation+".json")
		check(t, writeFile(file, string(config)))
		log := startDaemon(t, w, home, "caddy", "run", "--config", file)
		chain := ""
		if !eventually(clientPatience, func() bool {
			chain = certificateBelow(home, name)
			return chain != "" && chain != other
		}) {
			t.Fatalf("caddy has no certificate for %s\n%s\n%s", name, log, w.logTail())
		}
		w.received(t, me, operation, owner, chain, name)
		return chain
	}
	issue := func(operation, name, challenge string) cell {
		return does(func(t *testing.T) { obtain(t, operation, openOwner, t.TempDir(), name, challenge, nil, "") })
	}
	home, first := t.TempDir(), ""
	return map[string]cell{
		"register": does(func(t *testing.T) {
			first = obtain(t, "register", openOwner, home, "issue.caddy.internal", "http-01", nil, "")
			w.registered(t, me)
		}),
		"issue":  issue("issue", "more.caddy.internal", "http-01"),
		"renew":  does(func(t *testing.T) { obtain(t, "renew", openOwner, home, "issue.caddy.internal", "http-01", nil, first) }),
		"revoke": cannot("caddy has no command that revokes"),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			obtain(t, "EAB", boundOwner, t.TempDir(), "eab.caddy.internal", "http-01", map[string]string{"key_id": id, "mac_key": key}, "")
		}),
		"wildcard":    cannot("Debian's caddy is built without DNS providers"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.caddy.internal", "http-01"),
		"dns-01":      cannot("Debian's caddy is built without DNS providers"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.caddy.internal", "tls-alpn-01"),
	}
}

// certificateBelow is the PEM of NAME.crt anywhere below a folder; "" if it is not
// there, whole, yet.
func certificateBelow(folder, name string) string {
	found := ""
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() == name+".crt" {
			found = path
		}
		return nil
	})
	if found == "" {
		return ""
	}
	text := readFileOr(found)
	if !strings.HasSuffix(strings.TrimSpace(text), "-----END CERTIFICATE-----") {
		return ""
	}
	return text
}

// eventually polls a condition until it holds, or the time is over.
func eventually(limit time.Duration, condition func() bool) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if condition() {
			return true
		}
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
}
