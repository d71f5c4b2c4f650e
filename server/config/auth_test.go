package config

import (
	"strings"
	"testing"
	"time"
)

func TestBelieved(t *testing.T) {
	file := write(t, `oidc:
  issuers:
    - {url: "https://idp.internal", audiences: [certwright]}
    - {url: "https://k8s.internal:6443", audiences: [a, b], jwks_file: keys.json, leeway: 1m, max_lifetime: 1h, algorithms: [RS256]}
  networks: {allow: [10.0.0.0/8]}
mtls:
  renewal_grace: 2h
  device_cas:
    - {name: factory, roots_file: f.pem, dns: ["*.devices.internal"]}
`)
	s, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	first, second := s.Config.OIDC.Issuers[0].Believed(&s.Config), s.Config.OIDC.Issuers[1].Believed(&s.Config)
	if first.Leeway != 30*time.Second || first.MaxLifetime != 24*time.Hour || first.JWKSFile != "" || first.Check() != nil {
		t.Errorf("%+v", first)
	}
	if second.Leeway != time.Minute || second.MaxLifetime != time.Hour || !strings.HasSuffix(second.JWKSFile, "/keys.json") || len(second.Audiences) != 2 {
		t.Errorf("%+v", second)
	}
	if ports := s.Config.OIDC.Ports(); len(ports) != 2 || ports[0] != 443 || ports[1] != 6443 {
		t.Errorf("%v", ports)
	}
	if names := s.Config.MTLS.DeviceCAs[0].Names(); len(names.DNS) != 1 {
		t.Errorf("%+v", names)
	}
	// What is written is read again, from a file and from the environment.
	again, err := Load(Sources{File: write(t, s.YAML())})
	if err != nil || again.Config.OIDC.Issuers[1].MaxLifetime != s.Config.OIDC.Issuers[1].MaxLifetime || len(again.Config.MTLS.DeviceCAs) != 1 {
		t.Errorf("%v\n%s", err, s.YAML())
	}
	explained, err := s.Explain("oidc.issuers")
	if err != nil {
		t.Fatal(err)
	}
	env, err := Load(Sources{Flags: map[string]string{"data": t.TempDir()}, Environ: []string{"CERTWRIGHT_OIDC_ISSUERS=" + explained.Value}})
	if err != nil || len(env.Config.OIDC.Issuers) != 2 || env.Config.OIDC.Issuers[1].URL != "https://k8s.internal:6443" {
		t.Errorf("%s: %v", explained.Value, err)
	}
}

func TestBelievedIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		`oidc: {issuers: [{url: "http://idp.internal", audiences: [a]}]}`:                                  "is not a URL such as https://",
		`oidc: {issuers: [{url: "https://idp.internal"}]}`:                                                 "needs an audience",
		`oidc: {issuers: [{url: "https://idp.internal", audience: a}]}`:                                    `did you mean "audiences"?`,
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], algorithms: [none]}]}`:             `the algorithm "none"`,
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], algorithms: [HS256]}]}`:            `the algorithm "HS256"`,
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], leeway: 10m}]}`:                    "between 0s and 5m",
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], leeway: 0s}]}`:                     "is not between 1s and 5m",
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], max_lifetime: 60d}]}`:              "max_lifetime",
		`oidc: {issuers: [{url: "https://a.x", audiences: [a]}, {url: "https://a.x", audiences: [b]}]}`:    "stands twice",
		`oidc: {issuers: [{url: "https://a.x", audiences: [a], jwks_file: f, jwks_url: "https://a.x/k"}]}`: "exclude each other",
		`oidc: {issuers: [{url: "https://a.x", audiences: [a], jwks_file: f, ca_file: c}]}`:                "nothing is fetched",
		`oidc: {networks: {deny: [nowhere]}}`:                                                              "is not a network",
		`mtls: {renewal_grace: 60d}`:                                                                       "mtls.renewal_grace",
		`mtls: {device_cas: [{name: a, roots_file: f}]}`:                                                   "at least one pattern",
		`mtls: {device_cas: [{name: a, dns: [x.y]}]}`:                                                      "roots_file",
		`mtls: {device_cas: [{name: a, roots_file: f, dns: ["{claims.a}.x"]}]}`:                            "no claims stand here",
		`mtls: {device_cas: [{name: a, roots_file: f, dns: ["a*b.x"]}]}`:                                   "dns pattern",
		`mtls: {device_cas: [{name: a, roots_file: f, dns: [x.y]}, {name: a, roots_file: f, dns: [x.y]}]}`: "stands twice",
	} {
		_, err := Load(Sources{File: write(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestLoginIsConfigured(t *testing.T) {
	s, err := Load(Sources{File: write(t, `oidc:
  issuers: [{url: "https://idp.internal", login_client_id: cli, login_scopes: [groups]}]
sessions: {lifetime: 8h}
`)})
	if err != nil {
		t.Fatal(err)
	}
	if i := s.Config.OIDC.Issuers[0].Believed(&s.Config); i.Login.ClientID != "cli" || len(i.Login.Scopes) != 1 || i.Check() != nil {
		t.Errorf("%+v", i)
	}
	if got := time.Duration(s.Config.Sessions.Lifetime); got != 8*time.Hour {
		t.Error(got)
	}
	for text, want := range map[string]string{
		`sessions: {lifetime: 13h}`: "is not between 1m and 12h",
		`sessions: {lifetime: 1s}`:  "is not between 1m and 12h",
		`oidc: {issuers: [{url: "https://idp.internal", audiences: [a], login_scopes: [groups]}]}`:      "scopes and no client_id",
		`oidc: {issuers: [{url: "https://idp.internal", login_client_id: cli, login_scopes: ["a b"]}]}`: "is none (RFC 6749",
		`oidc: {issuers: [{url: "https://idp.internal", login_client: cli}]}`:                           `did you mean "login_client_id"?`,
	} {
		if _, err := Load(Sources{File: write(t, text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
