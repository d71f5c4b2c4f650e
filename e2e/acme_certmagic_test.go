package e2e

import (
	"context"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// magicDNS is certmagic's provider over the zone.
type magicDNS struct{ zone *zone }

func (p magicDNS) AppendRecords(_ context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	for _, r := range records {
		p.zone.set(libdns.AbsoluteName(r.RR().Name, zone), r.RR().Data)
	}
	return records, nil
}

func (p magicDNS) DeleteRecords(_ context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	for _, r := range records {
		p.zone.clear(libdns.AbsoluteName(r.RR().Name, zone), r.RR().Data)
	}
	return records, nil
}

// certmagicCells are the library certmagic, as caddy uses it.
func certmagicCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "certmagic"
	config := func(t *testing.T, folder, kind string, eab *acme.EAB) *certmagic.Config {
		t.Helper()
		var cfg *certmagic.Config
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return cfg, nil },
			Logger:           zap.NewNop(),
		})
		t.Cleanup(cache.Stop)
		cfg = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: folder}, Logger: zap.NewNop(), OCSP: certmagic.OCSPConfig{DisableStapling: true}})
		template := certmagic.ACMEIssuer{
			CA: w.directory, Email: me + "@ops.internal", Agreed: true, ExternalAccount: eab, TrustedRoots: w.roots(), Logger: zap.NewNop(),
			ListenHost: ip, AltHTTPPort: number(w.httpPort), AltTLSALPNPort: number(w.alpn),
			DisableHTTPChallenge: kind != "http-01", DisableTLSALPNChallenge: kind != "tls-alpn-01",
		}
		if kind == "dns-01" {
			template.DNS01Solver = &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
				DNSProvider: magicDNS{w.zone}, Resolvers: []string{w.zone.addr}, PropagationTimeout: -1, Logger: zap.NewNop(),
			}}
		}
		cfg.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(cfg, template)}
		return cfg
	}
	stored := func(t *testing.T, folder, name string) string {
		t.Helper()
		if text := certificateBelow(folder, certmagic.StorageKeys.Safe(name)); text != "" {
			return text
		}
		t.Fatalf("certmagic has stored nothing for %s", name)
		return ""
	}
	obtain := func(t *testing.T, folder, operation, owner, kind, name string, eab *acme.EAB) string {
		t.Helper()
		if err := config(t, folder, kind, eab).ObtainCertSync(t.Context(), name); err != nil {
			t.Fatalf("%v\n%s", err, w.logTail())
		}
		chain := stored(t, folder, name)
		w.received(t, me, operation, owner, chain, name)
		return chain
	}
	home := t.TempDir()
	issue := func(operation, name, kind string) cell {
		return does(func(t *testing.T) { obtain(t, home, operation, openOwner, kind, name, nil) })
	}
	const renewed = "issue.certmagic.internal"
	return map[string]cell{
		"register": does(func(t *testing.T) { // it registers when it first needs to
			obtain(t, home, "register", openOwner, "http-01", "first.certmagic.internal", nil)
			w.registered(t, me)
		}),
		"issue": issue("issue", renewed, "http-01"),
		"renew": does(func(t *testing.T) {
			before := stored(t, home, renewed)
			check(t, config(t, home, "http-01", nil).RenewCertSync(t.Context(), renewed, true))
			w.received(t, me, "renew", openOwner, stored(t, home, renewed), renewed)
			different(t, before, stored(t, home, renewed))
		}),
		"revoke": does(func(t *testing.T) {
			before := stored(t, home, renewed)
			cfg := config(t, home, "http-01", nil)
			// It knows its account's mailbox only after this, which issuing does.
			check(t, cfg.Issuers[0].(*certmagic.ACMEIssuer).PreCheck(t.Context(), []string{renewed}, false))
			check(t, cfg.RevokeCert(t.Context(), renewed, acme.ReasonSuperseded, false))
			w.revoked(t, before)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			obtain(t, t.TempDir(), "EAB", boundOwner, "http-01", "eab.certmagic.internal", &acme.EAB{KeyID: id, MACKey: key})
		}),
		"wildcard":    issue("wildcard", "*.wild.certmagic.internal", "dns-01"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.certmagic.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.certmagic.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.certmagic.internal", "tls-alpn-01"),
	}
}
