package e2e

import (
	"os"
	"path/filepath"
	"testing"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// script writes an executable shell script.
func script(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700))
	return path
}

// setTXT is a line of shell that sets or clears ("clear") a TXT record.
func (w *acmeWorld) setTXT(verb, name, value string) string {
	return `curl -sSf --data-urlencode "name=` + name + `" --data-urlencode "value=` + value + `" ` + w.zone.control + "/" + verb + "\n"
}

// revoked fails the test unless the certificate of the chain is revoked.
func (w *acmeWorld) revoked(t *testing.T, chain string) {
	t.Helper()
	if state := w.state(t, leafOf(t, chain)); state != certwrightv1.Certificate_REVOKED {
		t.Errorf("the certificate is %v, not revoked", state)
	}
}

// different fails the test if a renewal brought the same certificate.
func different(t *testing.T, before, after string) {
	t.Helper()
	if leafOf(t, before).SerialNumber.Cmp(leafOf(t, after).SerialNumber) == 0 {
		t.Error("the renewal brought no new certificate")
	}
}

// certbotCells are Debian's certbot.
func certbotCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "certbot"
	home := t.TempDir()
	run := func(t *testing.T, verb, account string, args ...string) {
		t.Helper()
		dir := filepath.Join(home, account)
		w.exec(t, home, nil, "certbot", append([]string{
			verb, "--non-interactive", "--config-dir", dir, "--work-dir", dir + "-work", "--logs-dir", dir + "-log", "--server", w.directory,
		}, args...)...)
	}
	chain := func(t *testing.T, account, name string) string {
		return readAll(t, filepath.Join(home, account, "live", name, "fullchain.pem"))
	}
	register := []string{"--agree-tos", "--no-eff-email", "-m", me + "@ops.internal"}
	standalone := []string{"--standalone", "--http-01-address", ip, "--http-01-port", w.httpPort, "--key-type", "ecdsa"}
	hooks := []string{
		"--manual", "--preferred-challenges", "dns", "--key-type", "ecdsa",
		"--manual-auth-hook", script(t, home, "auth.sh", w.setTXT("set", "_acme-challenge.$CERTBOT_DOMAIN", "$CERTBOT_VALIDATION")),
		"--manual-cleanup-hook", script(t, home, "cleanup.sh", w.setTXT("clear", "_acme-challenge.$CERTBOT_DOMAIN", "$CERTBOT_VALIDATION")),
	}
	issue := func(operation, name string, how []string) cell {
		return does(func(t *testing.T) {
			run(t, "certonly", "main", append([]string{"-d", name, "--cert-name", operation}, how...)...)
			w.received(t, me, operation, openOwner, chain(t, "main", operation), name)
		})
	}
	return map[string]cell{
		"register": does(func(t *testing.T) {
			run(t, "register", "main", register...)
			w.registered(t, me)
		}),
		"issue": issue("issue", "issue.certbot.internal", standalone),
		"renew": does(func(t *testing.T) {
			before := chain(t, "main", "issue")
			run(t, "renew", "main", "--cert-name", "issue", "--force-renewal", "--no-random-sleep-on-renew")
			w.received(t, me, "renew", openOwner, chain(t, "main", "issue"), "issue.certbot.internal")
			different(t, before, chain(t, "main", "issue"))
		}),
		"revoke": does(func(t *testing.T) {
			run(t, "revoke", "main", "--cert-name", "issue", "--reason", "superseded", "--no-delete-after-revoke")
			w.revoked(t, chain(t, "main", "issue"))
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			run(t, "register", "bound", append(register, "--eab-kid", id, "--eab-hmac-key", key)...)
			run(t, "certonly", "bound", append([]string{"-d", "eab.certbot.internal", "--cert-name", "eab"}, standalone...)...)
			w.received(t, me, "EAB", boundOwner, chain(t, "bound", "eab"), "eab.certbot.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.certbot.internal", hooks),
		"IP":          cannot("certbot 2.1 takes no IP addresses"),
		"http-01":     issue("http-01", "http.certbot.internal", standalone),
		"dns-01":      issue("dns-01", "dns.certbot.internal", hooks),
		"tls-alpn-01": cannot("certbot has no tls-alpn-01"),
	}
}
