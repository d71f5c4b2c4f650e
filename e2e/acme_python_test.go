package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// number is a port as a number.
func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

// pythonCells are Debian's python3-acme, the library below certbot, by
// testdata/acme_client.py.
func pythonCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "pythonacme"
	home := t.TempDir()
	program, err := filepath.Abs("testdata/acme_client.py")
	check(t, err)
	run := func(t *testing.T, verb, account string, more map[string]any) {
		t.Helper()
		args := map[string]any{
			"directory": w.directory, "email": me + "@ops.internal", "key": filepath.Join(home, account+".key"),
			"address": ip, "http_port": number(w.httpPort), "set": w.zone.control + "/set",
		}
		maps.Copy(args, more)
		input, err := json.Marshal(args)
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), clientPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-W", "ignore", program, verb)
		cmd.Dir, cmd.Env, cmd.Stdin = home, w.environ(), strings.NewReader(string(input))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", verb, err, out, w.logTail())
		}
	}
	obtain := func(t *testing.T, operation, account, owner, challenge, name string) string {
		t.Helper()
		out := filepath.Join(home, operation+".pem")
		names, ips := []string{name}, []string{}
		if name == ip {
			names, ips = ips, names
		}
		run(t, "issue", account, map[string]any{"names": names, "ips": ips, "challenge": challenge, "out": out})
		chain := readAll(t, out)
		w.received(t, me, operation, owner, chain, name)
		return chain
	}
	issue := func(operation, name, challenge string) cell {
		return does(func(t *testing.T) { obtain(t, operation, "main", openOwner, challenge, name) })
	}
	first := ""
	return map[string]cell{
		"register": does(func(t *testing.T) {
			run(t, "register", "main", nil)
			w.registered(t, me)
		}),
		"issue": does(func(t *testing.T) {
			first = obtain(t, "issue", "main", openOwner, "http-01", "issue.pythonacme.internal")
		}),
		"renew": does(func(t *testing.T) {
			different(t, first, obtain(t, "renew", "main", openOwner, "http-01", "issue.pythonacme.internal"))
		}),
		"revoke": does(func(t *testing.T) {
			run(t, "revoke", "main", map[string]any{"cert": filepath.Join(home, "issue.pem")})
			w.revoked(t, first)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			run(t, "register", "bound", map[string]any{"kid": id, "hmac": key})
			obtain(t, "EAB", "bound", boundOwner, "http-01", "eab.pythonacme.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.pythonacme.internal", "dns-01"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.pythonacme.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.pythonacme.internal", "dns-01"),
		"tls-alpn-01": cannot("python3-acme 2.1 writes the extension under a draft's OID, 1.3.6.1.5.5.7.1.30.1; RFC 8737 has 1.3.6.1.5.5.7.1.31"),
	}
}
