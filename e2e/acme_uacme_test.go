package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// uacmeCells are Debian's uacme: C, with hooks, and ualpn for tls-alpn-01. Its
// libcurl knows no variable for roots, so it runs where the system's file of roots
// is ours: a mount that only it sees.
func uacmeCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "uacme"
	if exec.Command("unshare", "--mount", "true").Run() != nil {
		return allCells("uacme trusts the system's roots alone, and this user cannot give it a mount namespace with others (unshare --mount)")
	}
	home := t.TempDir()
	webroot := filepath.Join(home, "webroot")
	check(t, os.Mkdir(webroot, 0o700))
	serveWebroot(t, w.httpAddr(ip), webroot)
	socket := filepath.Join(filepath.Dir(w.data), "ualpn.sock")
	startDaemon(t, w, home, "ualpn", "--bind", ip+"@"+w.alpn, "--connect", "127.0.0.1@9", "--sock", socket, "--user", "root:root", "-v")
	hook := script(t, home, "hook.sh", fmt.Sprintf(`test "$2" = "$WANT" || exit 1
case "$1 $2" in
"begin http-01") printf %%s "$5" >'%[1]s'/"$4" ;;
"done http-01"|"failed http-01") rm -f '%[1]s'/"$4" ;;
"begin dns-01") %[2]s ;;
"done dns-01"|"failed dns-01") %[3]s ;;
"begin tls-alpn-01") test "$(echo "auth $3 $5" | ualpn --sock '%[4]s')" = OK ;;
"done tls-alpn-01"|"failed tls-alpn-01") echo "unauth $3" | ualpn --sock '%[4]s' ;;
esac
`, webroot, w.setTXT("set", "_acme-challenge.$3", "$5"), w.setTXT("clear", "_acme-challenge.$3", "$5"), socket))
	run := func(t *testing.T, account, challenge string, args ...string) {
		t.Helper()
		w.exec(t, home, []string{"WANT=" + challenge}, "unshare", append([]string{"--mount", "sh", "-c",
			`mount --bind "$SSL_CERT_FILE" /etc/ssl/certs/ca-certificates.crt && exec "$@"`, "sh",
			"uacme", "-v", "-y", "-t", "EC", "-c", filepath.Join(home, account), "-a", w.directory, "-h", hook}, args...)...)
	}
	chain := func(t *testing.T, account, name string) string {
		return readAll(t, filepath.Join(home, account, name, "cert.pem"))
	}
	issue := func(operation, name, file, challenge string) cell {
		return does(func(t *testing.T) {
			run(t, "main", challenge, "issue", name)
			w.received(t, me, operation, openOwner, chain(t, "main", file), name)
		})
	}
	return map[string]cell{
		"register": does(func(t *testing.T) {
			run(t, "main", "", "new", me+"@ops.internal")
			w.registered(t, me)
		}),
		"issue": issue("issue", "issue.uacme.internal", "issue.uacme.internal", "http-01"),
		"renew": does(func(t *testing.T) {
			before := chain(t, "main", "issue.uacme.internal")
			run(t, "main", "http-01", "-f", "issue", "issue.uacme.internal")
			after := chain(t, "main", "issue.uacme.internal")
			w.received(t, me, "renew", openOwner, after, "issue.uacme.internal")
			different(t, before, after)
		}),
		"revoke": does(func(t *testing.T) {
			before := chain(t, "main", "issue.uacme.internal")
			run(t, "main", "", "revoke", filepath.Join(home, "main", "issue.uacme.internal", "cert.pem"))
			w.revoked(t, before)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			run(t, "bound", "", "-e", id+":"+key, "new", me+"@ops.internal")
			run(t, "bound", "http-01", "issue", "eab.uacme.internal")
			w.received(t, me, "EAB", boundOwner, chain(t, "bound", "eab.uacme.internal"), "eab.uacme.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.uacme.internal", "wild.uacme.internal", "dns-01"),
		"IP":          issue("IP", ip, ip, "http-01"),
		"http-01":     issue("http-01", "http.uacme.internal", "http.uacme.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.uacme.internal", "dns.uacme.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.uacme.internal", "alpn.uacme.internal", "tls-alpn-01"),
	}
}

// allCells are cells that are all skipped for one reason.
func allCells(reason string) map[string]cell {
	cells := map[string]cell{}
	for _, operation := range operations() {
		cells[operation] = cannot(reason)
	}
	return cells
}
