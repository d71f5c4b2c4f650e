package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// acmeTinyCells are Debian's acme-tiny: 200 lines of Python, http-01 alone.
func acmeTinyCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "acmetiny"
	home := t.TempDir()
	webroot := filepath.Join(home, "webroot")
	check(t, os.Mkdir(webroot, 0o700))
	serveWebroot(t, w.httpAddr(ip), webroot)
	account := filepath.Join(home, "account.key")
	tool(t, "openssl", "genrsa", "-out", account, "2048")
	issue := func(t *testing.T, operation, name string) string {
		t.Helper()
		csr := filepath.Join(home, operation+".csr")
		check(t, writeFile(csr, csrPEM(t, newKey(t), name)))
		// Its own look at the file would need the system's resolver to know the name.
		chain := w.exec(t, home, nil, "acme-tiny", "--quiet", "--disable-check", "--account-key", account, "--csr", csr,
			"--acme-dir", webroot, "--directory-url", w.directory, "--contact", "mailto:"+me+"@ops.internal")
		w.received(t, me, operation, openOwner, chain, name)
		return chain
	}
	first := ""
	return map[string]cell{
		"register": does(func(t *testing.T) { // it registers whenever it runs
			first = issue(t, "register", "issue.acmetiny.internal")
			w.registered(t, me)
		}),
		"issue":       does(func(t *testing.T) { issue(t, "issue", "more.acmetiny.internal") }),
		"renew":       does(func(t *testing.T) { different(t, first, issue(t, "renew", "issue.acmetiny.internal")) }),
		"revoke":      cannot("acme-tiny only issues"),
		"EAB":         cannot("acme-tiny has no external account binding"),
		"wildcard":    cannot("acme-tiny has no dns-01"),
		"IP":          cannot("acme-tiny reads only DNS names from a CSR"),
		"http-01":     does(func(t *testing.T) { issue(t, "http-01", "http.acmetiny.internal") }),
		"dns-01":      cannot("acme-tiny has http-01 alone"),
		"tls-alpn-01": cannot("acme-tiny has http-01 alone"),
	}
}
