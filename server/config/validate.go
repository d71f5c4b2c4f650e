package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/policy"
)

// Off as a listen address: no listener.
const Off = "off"

// The values of ledger.access.
const (
	AccessRole = "role"
	AccessOpen = "open"
)

// validator gathers problems, each with the place that its value comes from.
type validator struct {
	settings *Settings
	problems []error
}

func (v *validator) check(ok bool, key, format string, args ...any) {
	if ok {
		return
	}
	place := v.settings.sources[key]
	if place != "" {
		place += ": "
	}
	v.problems = append(v.problems, fmt.Errorf("%s%s: %s", place, key, fmt.Sprintf(format, args...)))
}

// Validate checks what can be checked without touching the disk or the network.
// The error joins all problems, each with key and source.
func (s *Settings) Validate() error {
	v := &validator{settings: s}
	c := &s.Config
	v.check(c.Data != "", "data", "must name a folder")
	v.listen("listen.https", c.Listen.HTTPS)
	v.listen("listen.grpc", c.Listen.GRPC)
	v.listen("listen.http", c.Listen.HTTP)
	v.listen("listen.metrics", c.Listen.Metrics)
	v.distinct(c)
	v.base("base_url.https", c.BaseURL.HTTPS, "https")
	v.base("base_url.http", c.BaseURL.HTTP, "http")
	v.check(c.Listen.HTTP != Off || c.BaseURL.HTTP != "", "base_url.http",
		"is empty, and listen.http is off: certificates name where OCSP and the CRLs are fetched, and without it nothing can be issued; give the URL of what passes them on, or listen.http an address")
	v.serverNames(c.ServerNames)
	v.check(c.AdminSocket != "", "admin_socket", "must name a file")
	file, ok := strings.CutPrefix(c.Storage, "bolt:")
	v.check(ok && filepath.IsLocal(file) && filepath.Base(file) == file, "storage", "%.64q is not bolt:FILE with a file's name in the data folder", c.Storage)
	v.check(c.Policy != "", "policy", "must name a file")
	v.ledger(c)
	v.check(c.Keys.PassphraseFile == "" || c.Keys.Credential == "", "keys.credential",
		"keys.passphrase_file is set too: only one of the two can hold the passphrase")
	v.check(c.Keys.PassphraseFile == "" || !inside(c.Data, c.Path(c.Keys.PassphraseFile)), "keys.passphrase_file",
		"lies in the data folder: whoever has the keys would have the passphrase; keep it elsewhere")
	v.check(!strings.ContainsAny(c.Keys.Credential, "/\x00"), "keys.credential", "is a credential's name, not a path")
	v.within("ocsp.lifetime", c.OCSP.Lifetime, 5*time.Minute, 7*24*time.Hour)
	v.oneOf("ocsp.signer", c.OCSP.Signer, "responder", "issuer")
	v.between("ocsp.cache_bytes", c.OCSP.CacheBytes, 1<<20, 1<<36)
	v.within("crl.lifetime", c.CRL.Lifetime, 15*time.Minute, 90*24*time.Hour)
	v.within("crl.rebuild_delay", c.CRL.RebuildDelay, time.Second, time.Hour)
	v.between("crl.complete_limit", c.CRL.CompleteLimit, 0, 10_000_000)
	v.acme(&c.ACME)
	v.oidc(c)
	v.mtls(&c.MTLS)
	v.within("sessions.lifetime", c.Sessions.Lifetime, session.MinLifetime, session.MaxLifetime)
	v.between("crl.shards", c.CRL.Shards, 1, 1024)
	v.between("limits.grpc_bytes", c.Limits.GRPCBytes, 64<<10, 64<<20)
	v.between("limits.queue", c.Limits.Queue, 16, 1<<20)
	if c.Limits.Calls != 0 {
		v.between("limits.calls", c.Limits.Calls, 4, 1<<16)
	}
	v.between("limits.connections", c.Limits.Connections, 4, 1<<20)
	v.between("limits.connections_per_address", c.Limits.ConnectionsPerAddress, 0, c.Limits.Connections)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	return errors.Join(v.problems...)
}

func (v *validator) between(key string, n, low, high int) {
	v.check(n >= low && n <= high, key, "%d is not between %d and %d", n, low, high)
}

func (v *validator) within(key string, d policy.Duration, low, high time.Duration) {
	v.check(time.Duration(d) >= low && time.Duration(d) <= high, key, "%s is not between %s and %s", d, policy.Duration(low), policy.Duration(high))
}

func (v *validator) oneOf(key, text string, allowed ...string) {
	for _, each := range allowed {
		if text == each {
			return
		}
	}
	v.check(false, key, "%.32q is not one of %s", text, strings.Join(allowed, ", "))
}

func (v *validator) listen(key, address string) {
	if address == Off {
		return
	}
	_, port, err := net.SplitHostPort(address)
	_, perr := strconv.ParseUint(port, 10, 16)
	v.check(err == nil && perr == nil, key, "%.128q is not host:port, such as 127.0.0.1:8443, or off", address)
}

// distinct refuses two listeners on one port of one address.
func (v *validator) distinct(c *Config) {
	taken := map[string]string{}
	for _, each := range []struct{ key, address string }{
		{"listen.https", c.Listen.HTTPS}, {"listen.grpc", c.Listen.GRPC}, {"listen.http", c.Listen.HTTP}, {"listen.metrics", c.Listen.Metrics},
	} {
		host, port, err := net.SplitHostPort(each.address)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
			continue // off, or any free port, or a fault that is told already
		}
		for _, other := range slices.Sorted(maps.Keys(taken)) {
			at, otherPort, _ := strings.Cut(other, " ")
			same := host == at || everywhere(host) || everywhere(at)
			v.check(!same || port != otherPort, each.key, "%s has the port of %s: each listener needs its own", each.address, taken[other])
		}
		taken[host+" "+port] = each.key
	}
}

// everywhere tells a host that stands for all addresses.
func everywhere(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

func (v *validator) base(key, text, scheme string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	ok := err == nil && u.Scheme == scheme && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
	v.check(ok, key, "%.128q is not a URL such as %s://ca.internal", text, scheme)
	v.check(!strings.HasSuffix(text, "/"), key, "%.128q ends with a slash: leave it out", text)
}

func (v *validator) serverNames(names []string) {
	v.check(len(names) > 0, "server_names", "at least one name is needed, for the server's own certificate")
	if _, err := Identifiers(names); err != nil {
		v.check(false, "server_names", "%v", err)
	}
}

// Identifiers are the names as DNS names and IP addresses, canonical and each
// once.
func Identifiers(names []string) ([]identity.Identifier, error) {
	ids := make([]identity.Identifier, 0, len(names))
	for _, name := range names {
		kind := identity.DNS
		if _, err := netip.ParseAddr(name); err == nil {
			kind = identity.IP
		}
		ids = append(ids, identity.Identifier{Type: kind, Value: name})
	}
	return identity.CanonicalSet(ids)
}

func (v *validator) ledger(c *Config) {
	l := &c.Ledger
	v.check(l.Origin != "" && strings.IndexFunc(l.Origin, notOrigin) < 0, "ledger.origin",
		"%.64q is not a name such as ca.internal/certwright, without spaces and \"+\"", l.Origin)
	_, epoch := ledger.SplitOrigin(l.Origin)
	v.check(epoch == 1 && len(l.Origin) <= maxOrigin, "ledger.origin",
		"%.64q has more than %d characters or ends like an epoch's name: name the first epoch's", l.Origin, maxOrigin)
	v.check(l.CheckpointKey != "", "ledger.checkpoint_key", "must be a key URI")
	interval := time.Duration(l.CheckpointInterval)
	v.check(interval >= 100*time.Millisecond && interval <= time.Minute,
		"ledger.checkpoint_interval", "%s is not between 100ms and 1m", interval)
	v.oneOf("ledger.access", l.Access, AccessRole, AccessOpen)
	for _, text := range l.Witnesses {
		if _, err := witness.Parse(text); err != nil {
			v.check(false, "ledger.witnesses", "%v", err)
		}
	}
	v.between("ledger.witnesses_need", l.WitnessesNeed, 0, len(l.Witnesses))
	if !c.Dev && l.Lock != "" {
		v.check(!inside(c.Data, c.Path(l.Lock)), "ledger.lock",
			"%s lies in the data folder %s: a restored data folder would bring its own; name a file elsewhere", l.Lock, c.Data)
	}
}

// maxOrigin leaves room for the number of an epoch.
const maxOrigin = 240

// notOrigin tells what may not stand in a note's key name (C2SP signed-note).
func notOrigin(r rune) bool { return r <= ' ' || r > '~' || r == '+' }

// inside tells whether path lies in the folder dir, by whatever links.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// resolved is the path without links, as far as it is there.
func resolved(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if found, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(found, rest)
		}
		if at == filepath.Dir(at) {
			return path
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// Inside tells whether a path lies in the data folder.
func (c *Config) Inside(path string) bool { return inside(c.Data, path) }

// HTTPBase is base_url.http, or what it stands for if the listener has the
// address listening; empty: the configured address. It is empty if there is
// neither a base URL nor a listener.
func (c *Config) HTTPBase(listening string) string {
	return base("http", c.BaseURL.HTTP, c.Listen.HTTP, listening)
}

// HTTPSBase is base_url.https in the same way.
func (c *Config) HTTPSBase(listening string) string {
	return base("https", c.BaseURL.HTTPS, c.Listen.HTTPS, listening)
}

// GRPCBase is where others reach gRPC: the host of base_url.https, else the first of
// server_names that means more than this machine; the port is that of listening, or
// the configured one. It is empty if there is no listener.
func (c *Config) GRPCBase(listening string) string {
	if listening == "" {
		listening = c.Listen.GRPC
	}
	_, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "" // off
	}
	host := "localhost"
	for _, name := range c.ServerNames {
		if ip, err := netip.ParseAddr(name); name != host && (err != nil || !ip.IsLoopback()) {
			host = name
			break
		}
	}
	if u, err := url.Parse(c.BaseURL.HTTPS); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	return "https://" + net.JoinHostPort(host, port)
}

func base(scheme, configured, address, listening string) string {
	if configured != "" {
		return configured
	}
	if listening != "" {
		address = listening
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "" // off
	}
	return scheme + "://localhost:" + port
}

// Path is a file name of the configuration, relative to the data folder.
func (c *Config) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Data, name)
}
