// Package config is the agent's file: which certificates it keeps fresh, where
// they come from and where they go. It is YAML, strict; the comments of the fields
// are the manual, and docs/agent-configuration.md is made from them ("go test
// ./agent/config -update").
package config

import (
	"github.com/certwright/certwright/policy"
)

// Config is the file. A key is the path of the json tags, joined by dots. Paths
// are relative to the file's folder.
type Config struct {
	// The state folder: what the agent must not forget, its status, and the
	// certificates whose folder is not set. Two agents do not share one.
	State string `json:"state"`
	// gRPC address of the Certwright server: HOST[:PORT], https://HOST[:PORT] or
	// unix:PATH. Needed unless every certificate comes by ACME.
	Server string `json:"server"`
	// PEM file with the root certificates. The server must present a chain to one of
	// them, and so must every certificate that it answers with.
	CAFile string `json:"ca_file"`
	// OwnSocket is client.Config's; no file says it.
	OwnSocket bool `json:"-"`
	// How the agent proves who it is, for certificates that do not say otherwise.
	Auth Auth `json:"auth"`
	// The ACME server, for certificates with source: acme.
	ACME ACME `json:"acme"`
	// The certificates, at most 200.
	Certificates []Certificate `json:"certificates"`
	// Address on loopback for Prometheus metrics at /metrics: 127.0.0.1:9464. Empty:
	// none.
	Metrics string `json:"metrics"`
	// How many attempts a certificate has in an hour, or in its life if that is
	// shorter: 1 to 60.
	TriesPerHour int `json:"tries_per_hour"`
	// The log, on standard error.
	Log Log `json:"log"`
}

// Auth is how the agent proves who it is when a certificate has no predecessor
// that can renew it. One of its ways, or none: then the certificate must be there.
type Auth struct {
	// File with a join token or an identity token. It is read for each request:
	// whatever rotates it is followed.
	TokenFile string `json:"token_file"`
	// Command that prints a token: program and arguments, no shell. It has 30 s and
	// 64 KiB.
	TokenCommand []string `json:"token_command"`
	// Client certificate of a CA of devices that the server knows, in PEM, with its
	// chain. It is read for each request.
	CertFile string `json:"cert_file"`
	// The private key of cert_file.
	KeyFile string `json:"key_file"`
}

// ACME is about certificates that come by ACME (RFC 8555).
type ACME struct {
	// URL of the directory. Only https; all URLs of the server must be on the same host.
	Directory string `json:"directory"`
	// PEM file with the roots by which the ACME server is known. Empty: ca_file;
	// "system": those of the system.
	CAFile string `json:"ca_file"`
	// PEM file with the roots that certificates must lead to. Empty: ca_file of the
	// top; "system": those of the system.
	TrustFile string `json:"trust_file"`
	// Mail address for the account, if the CA wants one.
	Email string `json:"email"`
	// That the CA's terms of service are agreed to.
	AgreeTerms bool `json:"agree_terms"`
	// ID of the external account binding key, if the CA wants one.
	EABKeyID string `json:"eab_key_id"`
	// File with that key, in base64url.
	EABKeyFile string `json:"eab_key_file"`
	// How control of names is shown: http-01 or dns-01.
	Challenge string `json:"challenge"`
	// Address on which the agent itself answers http-01, while it is validated.
	HTTPAddress string `json:"http_address"`
	// Folder of a web server that answers http-01 in the agent's place: files are put
	// into .well-known/acme-challenge in it. Empty: the agent answers itself.
	Webroot string `json:"webroot"`
	// Program for dns-01, with arguments. It is called with "present NAME VALUE" and "cleanup
	// NAME VALUE" added, NAME being the name of the TXT record with a dot at its end, and has 2 minutes.
	DNSCommand []string `json:"dns_command"`
}

// Certificate is one certificate that is kept fresh.
type Certificate struct {
	// What it is called in status, metrics and commands: letters, digits, "-", "_", ".".
	Name string `json:"name"`
	// certwright: over gRPC. acme: by ACME.
	Source string `json:"source"`
	// DNS names, IP addresses, URIs (spiffe://…) and mailboxes, by their form. 1 to 100.
	Names []string `json:"names"`
	// Profile to issue under. Empty: the only one that the grant names.
	Profile string `json:"profile"`
	// Who answers for the certificate. Empty: what the grant says.
	Owner string `json:"owner"`
	// Labels that are kept with the certificate. At most 16.
	Labels map[string]string `json:"labels"`
	// How long it shall be valid, at least 1m. Empty: what the profile says.
	Validity policy.Duration `json:"validity"`
	// The private key. It is made here and never leaves.
	Key Key `json:"key"`
	// Folder of the files. Empty: certificates/NAME in the state folder. It holds the
	// generations of the certificate and links into the present one, all of which
	// change at once.
	Folder string `json:"folder"`
	// What the files in the folder are called.
	Files Files `json:"files"`
	// Permissions of all files: no more than 0660.
	Mode Mode `json:"mode"`
	// Permissions of the files without the key. Empty: those of mode.
	PublicMode Mode `json:"public_mode"`
	// User who owns the files, by name or number. Empty: the agent's.
	FileOwner string `json:"file_owner"`
	// Group of the files, by name or number. Empty: the agent's, or the first group of file_owner.
	FileGroup string `json:"file_group"`
	// What is done when there is a new certificate.
	Hook Hook `json:"hook"`
	// A process that is told by a signal, instead of a hook or after it.
	Reload Reload `json:"reload"`
	// How the agent proves who it is, for this certificate. Empty: as the top says.
	Auth Auth `json:"auth"`
}

// Key is about the private key.
type Key struct {
	// ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096.
	Type string `json:"type"`
	// Keep the key when the certificate is renewed. Else each has a new one.
	Reuse bool `json:"reuse"`
}

// Files are the names of the files in the folder. An empty one is not written.
type Files struct {
	// The private key: PKCS#8, PEM.
	Key string `json:"key"`
	// The certificate alone.
	Cert string `json:"cert"`
	// The certificates of the issuers, without the root.
	Chain string `json:"chain"`
	// The certificate and those of its issuers.
	Fullchain string `json:"fullchain"`
	// Key, certificate and issuers in one file.
	Combined string `json:"combined"`
}

// Hook is a program that is run after the files have changed. Its environment has
// CERTWRIGHT_NAME, CERTWRIGHT_FOLDER, CERTWRIGHT_KEY, CERTWRIGHT_CERT,
// CERTWRIGHT_CHAIN, CERTWRIGHT_FULLCHAIN, CERTWRIGHT_COMBINED (paths),
// CERTWRIGHT_SERIAL, CERTWRIGHT_NOT_BEFORE, CERTWRIGHT_NOT_AFTER (RFC 3339),
// CERTWRIGHT_DNS_NAMES, PATH, HOME and LANG, and nothing else.
type Hook struct {
	// Program and arguments; no shell unless it is named. What it prints, up to 16 KiB, goes to the
	// log. If it fails, the certificate stays and the hook is run again, later and later.
	Command []string `json:"command"`
	// How long it may take, 1s to 10m. Then it and its children are killed.
	Timeout policy.Duration `json:"timeout"`
}

// Reload is a process that reads its certificate again on a signal.
type Reload struct {
	// HUP, USR1, USR2, INT or TERM.
	Signal string `json:"signal"`
	// File with the number of the process, no link. Of a file of another user's root tells
	// only processes that he may tell himself; one that others can write is refused.
	PIDFile string `json:"pid_file"`
}

// Log is what the agent says on standard error.
type Log struct {
	// debug, info, warn or error.
	Level string `json:"level"`
	// text or json.
	Format string `json:"format"`
}

// SetDefaults fills in what a file leaves out.
func (c *Config) SetDefaults() {
	c.State, c.TriesPerHour = "/var/lib/certwright-agent", 6
	c.Log = Log{Level: "info", Format: "text"}
	c.ACME.SetDefaults()
}

// SetDefaults fills in what a file leaves out.
func (l *Log) SetDefaults() { *l = Log{Level: "info", Format: "text"} }

// SetDefaults fills in what a file leaves out.
func (a *ACME) SetDefaults() { a.Challenge, a.HTTPAddress = "http-01", ":80" }

// SetDefaults fills in what a file leaves out.
func (c *Certificate) SetDefaults() {
	c.Source, c.Mode = "certwright", 0o600
	c.Key.SetDefaults()
	c.Files.SetDefaults()
	c.Hook.SetDefaults()
}

// SetDefaults fills in what a file leaves out.
func (k *Key) SetDefaults() { k.Type = "ecdsa-p256" }

// SetDefaults fills in what a file leaves out.
func (f *Files) SetDefaults() {
	*f = Files{Key: "key.pem", Cert: "cert.pem", Chain: "chain.pem", Fullchain: "fullchain.pem"}
}

// SetDefaults fills in what a file leaves out.
func (h *Hook) SetDefaults() { h.Timeout = policy.Duration(defaultHookTime) }
