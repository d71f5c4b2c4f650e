package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// dehydratedCells are Debian's dehydrated: bash, curl and openssl.
func dehydratedCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "dehydrated"
	home := t.TempDir()
	webroot := filepath.Join(home, "webroot")
	check(t, os.Mkdir(webroot, 0o700))
	serveWebroot(t, w.httpAddr(ip), webroot)
	serveALPN(t, w.alpnAddr(ip), func(name string) *tls.Certificate {
		base := filepath.Join(home, "main", "alpn-certs", name)
		c, err := tls.LoadX509KeyPair(base+".crt.pem", base+".key.pem")
		if err != nil {
			return nil
		}
		return &c
	})
	hook := script(t, home, "hook.sh", "case \"$1\" in\ndeploy_challenge) "+w.setTXT("set", "_acme-challenge.$2", "$4")+
		";;\nclean_challenge) "+w.setTXT("clear", "_acme-challenge.$2", "$4")+";;\nesac\nexit 0\n")
	account := func(name, more string) string {
		base := filepath.Join(home, name)
		check(t, os.Mkdir(base, 0o700))
		config := filepath.Join(home, name+".config")
		check(t, writeFile(config, fmt.Sprintf("CA=%q\nBASEDIR=%q\nWELLKNOWN=%q\nHOOK=%q\nKEY_ALGO=prime256v1\nCONTACT_EMAIL=%q\nCURL_OPTS=%q\n%s",
			w.directory, base, webroot, hook, me+"@ops.internal", "--cacert "+w.root, more)))
		return config
	}
	main := account("main", "")
	run := func(t *testing.T, config string, args ...string) {
		t.Helper()
		w.exec(t, home, nil, "dehydrated", append([]string{"--config", config}, args...)...)
	}
	chain := func(t *testing.T, account, alias string) string {
		return readAll(t, filepath.Join(home, account, "certs", alias, "fullchain.pem"))
	}
	issue := func(operation, name, challenge string) cell {
		return does(func(t *testing.T) {
			run(t, main, "--cron", "--domain", name, "--alias", operation, "--challenge", challenge)
			w.received(t, me, operation, openOwner, chain(t, "main", operation), name)
		})
	}
	return map[string]cell{
		"register": does(func(t *testing.T) {
			run(t, main, "--register", "--accept-terms")
			w.registered(t, me)
		}),
		"issue": issue("issue", "issue.dehydrated.internal", "http-01"),
		"renew": does(func(t *testing.T) {
			before := chain(t, "main", "issue")
			run(t, main, "--cron", "--force", "--domain", "issue.dehydrated.internal", "--alias", "issue", "--challenge", "http-01")
			w.received(t, me, "renew", openOwner, chain(t, "main", "issue"), "issue.dehydrated.internal")
			different(t, before, chain(t, "main", "issue"))
		}),
		"revoke": does(func(t *testing.T) {
			before := chain(t, "main", "issue")
			run(t, main, "--revoke", filepath.Join(home, "main", "certs", "issue", "cert.pem"))
			w.revoked(t, before)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			config := account("bound", fmt.Sprintf("EAB_KID=%q\nEAB_HMAC_KEY=%q\n", id, key))
			run(t, config, "--register", "--accept-terms")
			run(t, config, "--cron", "--domain", "eab.dehydrated.internal", "--alias", "eab", "--challenge", "http-01")
			w.received(t, me, "EAB", boundOwner, chain(t, "bound", "eab"), "eab.dehydrated.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.dehydrated.internal", "dns-01"),
		"IP":          cannot("dehydrated 0.7.0 asks for everything as a DNS name"),
		"http-01":     issue("http-01", "http.dehydrated.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.dehydrated.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.dehydrated.internal", "tls-alpn-01"),
	}
}
