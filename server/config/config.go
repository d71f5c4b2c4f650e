// Package config is the server's configuration: one YAML file, strict, with
// CERTWRIGHT_* variables and flags above it. The comments of Config's fields are
// the manual: docs/configuration.md, the file that the server writes into a new
// data folder and "config explain" are made from them ("go test ./server/config
// -update").
package config

import (
	"time"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/policy"
)

// Config is every setting. Its field comments are the manual; a key is the path
// of the json tags, joined by dots.
type Config struct {
	// The data folder: keys, ledger, admin socket. From a file, relative to that
	// file's folder. By flag or environment only, if the file lies in the data
	// folder itself.
	Data   string `json:"data" flag:"data"`
	Listen Listen `json:"listen"`
	// The Unix socket for admins on this machine, relative to data. Root and the
	// server's own user are admins on it. The path may have about 107 bytes.
	AdminSocket string  `json:"admin_socket"`
	BaseURL     BaseURL `json:"base_url"`
	// The names in the server's own TLS certificate, which its own CA issues: DNS
	// names and IP addresses.
	ServerNames []string `json:"server_names"`
	// Where the ledger and the state live: bolt:FILE, a file's
	// name in the data folder.
	Storage string `json:"storage"`
	// The policy file, relative to data. It is read when a store has no policy
	// yet, on SIGHUP and by "policy apply"; the store's active policy is the truth.
	Policy   string   `json:"policy"`
	Ledger   Ledger   `json:"ledger"`
	Keys     Keys     `json:"keys"`
	OCSP     OCSP     `json:"ocsp"`
	ACME     ACME     `json:"acme"`
	OIDC     OIDC     `json:"oidc"`
	MTLS     MTLS     `json:"mtls"`
	Sessions Sessions `json:"sessions"`
	CRL      CRL      `json:"crl"`
	Limits   Limits   `json:"limits"`
	Log      Log      `json:"log"`

	// Dev is the --dev flag: keys are kept in clear inside the data folder, which
	// is made at the first start. It is never set by a file.
	Dev bool `json:"-"`
}

// Listen is where the server listens: host:port each, port 0 for any free one,
// "off" for none.
type Listen struct {
	// REST and /openapi.json, over TLS.
	HTTPS string `json:"https" flag:"https"`
	// gRPC, over TLS.
	GRPC string `json:"grpc" flag:"grpc"`
	// Plain HTTP for what relying parties fetch: OCSP answers, CRLs, and the CA
	// certificates, as the certificates name them.
	HTTP string `json:"http" flag:"http"`
	// Plain HTTP for operators: /metrics, /healthz, /livez, /readyz. Keep it on
	// loopback or a management network: it asks nobody who they are.
	Metrics string `json:"metrics" flag:"metrics"`
	// Also serve /debug/pprof on the metrics listener: profiles of CPU, memory,
	// goroutines, mutexes. They cost something while they run and show what the
	// program works on, so they are off unless asked for.
	Pprof bool `json:"pprof"`
}

// BaseURL is under which URLs others reach the server. The request's Host never
// counts.
type BaseURL struct {
	// What answers name. Empty: https://localhost with the port of listen.https.
	HTTPS string `json:"https"`
	// What certificates name in AIA and CRL distribution points; it stands in every
	// certificate until that expires. Empty: http://localhost with the port of
	// listen.http.
	HTTP string `json:"http"`
}

// Ledger is about the book.
type Ledger struct {
	// The ledger's name, the first line of its checkpoints. It cannot change
	// later.
	Origin string `json:"origin"`
	// The Ed25519 key that signs checkpoints, as a key URI; file: is relative to
	// data.
	CheckpointKey string `json:"checkpoint_key"`
	// The file that keeps the last checkpoint this server has signed, relative to
	// data. It must be neither in data nor in data's backup (with --dev it may be): by
	// it the server sees that an older ledger was put in place. Empty:
	// ../certwright-lock/NAME, NAME being that of the data folder; with --dev: lock.
	Lock string `json:"lock"`
	// How often a checkpoint is signed, if there are new entries. 100ms to 1m.
	CheckpointInterval policy.Duration `json:"checkpoint_interval"`
	// Who may read the published ledger at /ledger/ of the https listener (C2SP
	// tlog-tiles). role: admins and auditors. open: whoever reaches the listener; entries
	// name internal hosts.
	Access string `json:"access"`
	// File with the bearer tokens of auditors, relative to data: one a line, each of at
	// least 32 characters, such as that of "openssl rand -hex 32". They read the published
	// ledger and nothing else. The file is read at each request. Empty: no auditors.
	AuditorTokens string `json:"auditor_tokens"`
	// Witnesses that are asked to cosign each checkpoint (C2SP tlog-witness): "URL KEY"
	// each, KEY being the witness's verifier key. They never hold up issuance.
	Witnesses []string `json:"witnesses"`
	// How many of them must have cosigned a checkpoint for "ledger status" and the
	// metrics to call it witnessed. 0: it is not counted.
	WitnessesNeed int `json:"witnesses_need"`
	// File with the root certificates that the witnesses' servers are verified with,
	// relative to data. Empty: the system's.
	WitnessesCA string `json:"witnesses_ca"`
}

// Keys is how the private keys are encrypted. One of the two, or neither with
// --dev.
type Keys struct {
	// File with the passphrase of the key files, relative to data; one trailing
	// newline does not count. Keep it out of data and its backup.
	PassphraseFile string `json:"passphrase_file"`
	// Name of the systemd credential with the passphrase (LoadCredential= or
	// LoadCredentialEncrypted= in the unit).
	Credential string `json:"credential"`
}

// OCSP is about the answers at /ocsp of the http listener (RFC 6960).
type OCSP struct {
	// How long an answer lasts, from thisUpdate to nextUpdate. 5m to 7d. It is kept
	// for half of that, unless the certificate is revoked; HTTP caches may keep it
	// for a minute.
	Lifetime policy.Duration `json:"lifetime"`
	// Who signs the answers. responder: a responder certificate with a key of its own,
	// which each issuer issues and renews by itself; the issuer's key stands in
	// while there is none. issuer: the issuer's key.
	Signer string `json:"signer"`
	// Most memory that kept answers may take, in bytes.
	CacheBytes int `json:"cache_bytes"`
}

// ACME is about the ACME server (RFC 8555): its directory is /acme/directory under
// base_url.https.
type ACME struct {
	// Whether accounts need an external account binding: required, optional or off.
	// "eab create" makes the keys.
	EAB string `json:"eab"`
	// The port of the first request of http-01, on the machines that are validated.
	HTTP01Port int `json:"http01_port"`
	// The port of tls-alpn-01, on the machines that are validated. Redirects of
	// http-01 may lead to these two ports.
	TLSALPN01Port int `json:"tlsalpn01_port"`
	// The DNS server that validation asks: host:port. Empty: the system's.
	Resolver string   `json:"resolver"`
	Networks Networks `json:"networks"`
	// The types of challenges that are offered, in the order in which clients see
	// them: http-01, dns-01, tls-alpn-01, dns-account-01, dns-persist-01.
	Challenges []string `json:"challenges"`
	// check: ask the resolver for CAA records (RFC 8659) before a certificate is
	// issued. off: do not.
	CAA string `json:"caa"`
	// The names of this CA in CAA records and in the TXT records of dns-persist-01.
	// Empty: the DNS names in server_names.
	CAAIdentities []string `json:"caa_identities"`
	// URL of the terms of service that new accounts must agree to. Empty: none.
	TermsOfService string `json:"terms_of_service"`
	// URL of a page about this CA, for the directory. Empty: none.
	Website string     `json:"website"`
	Limits  ACMELimits `json:"limits"`
}

// Networks is what may be contacted for others. Link-local, metadata, unspecified and
// multicast addresses are never contacted.
type Networks struct {
	// Networks that may be contacted: CIDR each. Empty: all.
	Allow []string `json:"allow"`
	// Networks that may not be contacted, even if allow names them.
	Deny []string `json:"deny"`
}

// ACMELimits say how often something may be done in an hour. What is beyond is
// told when to try again.
type ACMELimits struct {
	// New accounts from one address in an hour; of IPv6 from one /64. -1: no limit.
	Accounts int `json:"accounts"`
	// Orders of one account in an hour. -1: no limit.
	Orders int `json:"orders"`
	// Orders of one account for one name in an hour. -1: no limit.
	OrdersPerName int `json:"orders_per_name"`
	// Failed validations of one account for one name in an hour. -1: no limit.
	Failures int `json:"failures"`
}

// OIDC is about the signed tokens of identity providers (JWT), with which
// workloads and people prove who they are.
type OIDC struct {
	// The identity providers whose tokens are believed. The policy's grants say what
	// they get: {oidc: URL, claims: {…}}.
	Issuers  []OIDCIssuer `json:"issuers"`
	Networks Networks     `json:"networks"`
}

// OIDCIssuer is one identity provider.
type OIDCIssuer struct {
	// The claim iss of its tokens, letter by letter: an https URL.
	URL string `json:"url"`
	// The claim aud of workloads' tokens that are meant for this CA: a token must have
	// one of them. May be left out where people log in and no workload comes.
	Audiences []string `json:"audiences,omitempty"`
	// The public client, as the provider knows it, with which people log in
	// ("certwright login"): the authorization code flow with PKCE on http://127.0.0.1/callback
	// with any port, or the device flow. Best none of audiences: a token for this client then
	// opens a session and does nothing else. Empty: nobody logs in here.
	LoginClientID string `json:"login_client_id,omitempty"`
	// The scopes that are asked for at login, beside openid: those that make the provider
	// send the claims by which the policy gives roles.
	LoginScopes []string `json:"login_scopes,omitempty"`
	// The algorithms that it may sign with, of RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512, EdDSA. Empty: RS256, ES256, ES384, PS256, EdDSA.
	Algorithms []string `json:"algorithms,omitempty"`
	// File with its keys (a JWK set), relative to data: nothing is fetched then. It is
	// read again every 10 minutes, and when a token names a key that is not in it.
	JWKSFile string `json:"jwks_file,omitempty"`
	// Where its keys are. Empty: where URL/.well-known/openid-configuration says.
	JWKSURL string `json:"jwks_url,omitempty"`
	// File with the CA certificates that its TLS certificate is verified by, PEM,
	// relative to data. Empty: the system's.
	CAFile string `json:"ca_file,omitempty"`
	// How much its clock and ours may differ. 1s to 5m; 30s if it is not given.
	Leeway policy.Duration `json:"leeway,omitempty"`
	// How long a token may still last. 1m to 31d; 24h if it is not given.
	MaxLifetime policy.Duration `json:"max_lifetime,omitempty"`
}

// SetDefaults sets what an issuer is if the file does not say.
func (i *OIDCIssuer) SetDefaults() {
	i.Leeway, i.MaxLifetime = policy.Duration(30*time.Second), policy.Duration(24*time.Hour)
}

// MTLS is about client certificates, which the listeners https and grpc ask for
// and do not require.
type MTLS struct {
	// For how long after its renewal a certificate can be renewed once more, for
	// clients that have lost the answer. 0s to 30d.
	RenewalGrace policy.Duration `json:"renewal_grace"`
	// Other CAs whose certificates prove devices. The policy's grants say what they
	// get: {device: NAME, claims: {…}}.
	DeviceCAs []DeviceCA `json:"device_cas"`
}

// DeviceCA is another CA, and which names its certificates may have.
type DeviceCA struct {
	// Name, by which grants speak of it.
	Name string `json:"name"`
	// File with its root certificates, PEM, relative to data. Intermediates come with
	// the client's certificate.
	RootsFile string `json:"roots_file"`
	// Every name of a device's certificate must be covered, and it must have one:
	// patterns as in grants.
	DNS []string `json:"dns,omitempty"`
	// The same for IP addresses.
	IP []string `json:"ip,omitempty"`
	// The same for URIs.
	URI []string `json:"uri,omitempty"`
	// The same for email addresses.
	Email []string `json:"email,omitempty"`
}

// Sessions is about the sessions of admins who have logged in. The policy says who
// has which role.
type Sessions struct {
	// How long a session lasts; one that was opened with a certificate ends with that at
	// the latest. 1m to 12h.
	Lifetime policy.Duration `json:"lifetime"`
}

// CRL is about certificate revocation lists.
type CRL struct {
	// How long a list lasts, from thisUpdate to nextUpdate. 15m to 90d. It is built
	// anew at a third of that.
	Lifetime policy.Duration `json:"lifetime"`
	// How long after a revocation the shard's list is built; what is revoked
	// meanwhile comes into the same list. 1s to 1h.
	RebuildDelay policy.Duration `json:"rebuild_delay"`
	// Most entries of an issuer's complete list, at /crl/ISSUER.crl; with more there
	// is none. 0: there never is one.
	CompleteLimit int `json:"complete_limit"`
	// How many shards an issuer's CRL has, 1 to 1024. Each certificate names its shard for ever;
	// a change holds for new certificates.
	Shards int `json:"shards"`
}

// Limits bound what one request may cost.
type Limits struct {
	// Largest gRPC message and REST body in bytes.
	GRPCBytes int `json:"grpc_bytes"`
	// Most units of work that may wait for the disk; what comes beyond is told to
	// try again.
	Queue int `json:"queue"`
	// Most requests that are worked on at once, of ACME and of gRPC and REST each; what
	// comes beyond is told at once to try again. In ACME, new orders are taken while a
	// quarter is under way, and one account can have a sixteenth; in gRPC and REST one
	// requester can have half. Revocations, OCSP and the admin socket have places of their
	// own. At least 4; 0: 512 for each core, which take about a second, 4096 at most.
	Calls int `json:"calls"`
	// Most open connections on each listener; further ones wait.
	Connections int `json:"connections"`
	// Most open connections of one source address (of IPv6: of one /64 network) on
	// each listener; further ones are closed. 0: a quarter of connections.
	ConnectionsPerAddress int `json:"connections_per_address"`
}

// PerAddress is connections_per_address, or what it stands for; at least 1.
func (l Limits) PerAddress() int {
	if l.ConnectionsPerAddress > 0 {
		return l.ConnectionsPerAddress
	}
	return max(l.Connections/4, 1)
}

// Log is about the log on standard error.
type Log struct {
	// debug, info, warn or error.
	Level string `json:"level" flag:"log-level"`
	// text or json.
	Format string `json:"format" flag:"log-format"`
}

// Default is what holds without file, environment and flags.
func Default() Config {
	return Config{
		Data:        "./certwright-data",
		Listen:      Listen{HTTPS: "127.0.0.1:8443", GRPC: "127.0.0.1:8444", HTTP: "127.0.0.1:8080", Metrics: "127.0.0.1:9090"},
		AdminSocket: "admin.sock",
		ServerNames: []string{"localhost", "127.0.0.1"},
		Storage:     "bolt:ledger.db",
		Policy:      "policy.yaml",
		Ledger: Ledger{
			Origin:             "localhost/certwright",
			CheckpointKey:      "file:keys/checkpoint.key",
			CheckpointInterval: policy.Duration(time.Second),
			Access:             AccessRole,
		},
		OCSP: OCSP{Lifetime: policy.Duration(24 * time.Hour), Signer: "responder", CacheBytes: 64 << 20},
		CRL: CRL{
			Lifetime: policy.Duration(24 * time.Hour), RebuildDelay: policy.Duration(5 * time.Second),
			CompleteLimit: 100_000, Shards: 16,
		},
		ACME: ACME{
			EAB: "optional", HTTP01Port: 80, TLSALPN01Port: 443, CAA: Off,
			Challenges: []string{"http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"},
			Limits:     ACMELimits{Accounts: 20_000, Orders: 1_000_000, OrdersPerName: 20_000, Failures: 1_000},
		},
		MTLS:     MTLS{RenewalGrace: policy.Duration(time.Hour)},
		Sessions: Sessions{Lifetime: policy.Duration(session.DefaultLifetime)},
		Limits:   Limits{GRPCBytes: 1 << 20, Queue: 4096, Connections: 4096},
		Log:      Log{Level: "info", Format: "text"},
	}
}
