package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// legoCommandCells are Debian's lego, the command.
func legoCommandCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "legocli"
	home := t.TempDir()
	hook := script(t, home, "dns.sh", "case \"$1\" in\npresent) "+w.setTXT("set", "$2", "$3")+";;\ncleanup) "+w.setTXT("clear", "$2", "$3")+";;\nesac\n")
	ways := map[string][]string{
		"http-01":     {"--http", "--http.port", w.httpAddr(ip)},
		"tls-alpn-01": {"--tls", "--tls.port", w.alpnAddr(ip)},
		"dns-01":      {"--dns", "exec", "--dns.disable-cp", "--dns.resolvers", w.zone.addr},
	}
	run := func(t *testing.T, account, name, challenge string, verb ...string) {
		t.Helper()
		args := append([]string{"--server", w.directory, "--accept-tos", "--email", me + "@ops.internal", "--path", filepath.Join(home, account),
			"--key-type", "ec256", "--domains", name}, ways[challenge]...)
		w.exec(t, home, []string{"EXEC_PATH=" + hook, "EXEC_PROPAGATION_TIMEOUT=20", "EXEC_POLLING_INTERVAL=1"}, "lego", append(args, verb...)...)
	}
	chain := func(t *testing.T, account, name string) string {
		return readAll(t, filepath.Join(home, account, "certificates", strings.ReplaceAll(name, "*", "_")+".crt"))
	}
	issue := func(operation, name, challenge string) cell {
		return does(func(t *testing.T) {
			run(t, "main", name, challenge, "run")
			w.received(t, me, operation, openOwner, chain(t, "main", name), name)
		})
	}
	return map[string]cell{
		"register": does(func(t *testing.T) { // "run" registers before it issues
			run(t, "main", "first.legocli.internal", "http-01", "run")
			w.received(t, me, "register", openOwner, chain(t, "main", "first.legocli.internal"), "first.legocli.internal")
			w.registered(t, me)
		}),
		"issue": issue("issue", "issue.legocli.internal", "http-01"),
		"renew": does(func(t *testing.T) {
			before := chain(t, "main", "issue.legocli.internal")
			run(t, "main", "issue.legocli.internal", "http-01", "renew", "--days", "365", "--no-random-sleep")
			after := chain(t, "main", "issue.legocli.internal")
			w.received(t, me, "renew", openOwner, after, "issue.legocli.internal")
			different(t, before, after)
		}),
		"revoke": does(func(t *testing.T) {
			before := chain(t, "main", "issue.legocli.internal")
			run(t, "main", "issue.legocli.internal", "", "revoke", "--keep")
			w.revoked(t, before)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			args := []string{"--server", w.directory, "--accept-tos", "--email", me + "@ops.internal", "--path", filepath.Join(home, "bound"),
				"--eab", "--kid", id, "--hmac", key, "--key-type", "ec256", "--domains", "eab.legocli.internal", "--http", "--http.port", w.httpAddr(ip), "run"}
			w.exec(t, home, nil, "lego", args...)
			w.received(t, me, "EAB", boundOwner, chain(t, "bound", "eab.legocli.internal"), "eab.legocli.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.legocli.internal", "dns-01"),
		"IP":          cannot("lego 4.9 asks for everything as a DNS name"),
		"http-01":     issue("http-01", "http.legocli.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.legocli.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.legocli.internal", "tls-alpn-01"),
	}
}
