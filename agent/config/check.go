package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/policy/strict"
)

// Limits of the file.
const (
	maxCertificates = 200
	maxNames        = 100
	maxLabels       = 16
	maxArguments    = 64
	maxText         = 4096
	defaultHookTime = 30 * time.Second
	maxHookTime     = 10 * time.Minute
	minValidity     = time.Minute
)

// The sources of certificates.
const (
	Certwright = "certwright"
	ACMESource = "acme"
)

// KeyTypes are the kinds of keys, the default first.
func KeyTypes() []string {
	return []string{keys.ECDSAP256, keys.ECDSAP384, keys.Ed25519, keys.RSA2048, keys.RSA3072, keys.RSA4096}
}

// faults takes what is wrong at a key.
type faults func(path string, f strict.Fault)

func (f faults) say(path, value, allowed, format string, args ...any) {
	f(path, strict.Fault{Value: value, Allowed: allowed, Detail: fmt.Sprintf(format, args...)})
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// check finds everything that is wrong but the form. Relative paths are of dir.
func (c *Config) check(f faults, dir string) {
	if c.State == "" {
		f.say("state", "", "a folder", "there is no state folder")
	}
	f.paths("", map[string]string{"state": c.State, "ca_file": c.CAFile})
	c.Auth.check(f, "auth.")
	if c.TriesPerHour < 1 || c.TriesPerHour > 60 {
		f.say("tries_per_hour", fmt.Sprint(c.TriesPerHour), "1 to 60", "it is out of bounds")
	}
	if c.Metrics != "" && !loopback(c.Metrics) {
		f.say("metrics", c.Metrics, "127.0.0.1:PORT or [::1]:PORT", "metrics are for this machine only")
	}
	f.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	f.oneOf("log.format", c.Log.Format, "text", "json")
	switch n := len(c.Certificates); {
	case n == 0:
		f.say("certificates", "", "at least one", "there is no certificate to keep")
	case n > maxCertificates:
		f.say("certificates", fmt.Sprint(n), fmt.Sprintf("at most %d", maxCertificates), "there are too many certificates")
		return
	}
	var seen []string
	for i := range c.Certificates {
		path := fmt.Sprintf("certificates[%d].", i)
		each := &c.Certificates[i]
		each.check(f, path)
		if slices.Contains(seen, each.Name) {
			f.say(path+"name", each.Name, "each once", "two certificates have this name")
		}
		seen = append(seen, each.Name)
	}
	c.checkFolders(f, dir)
	c.checkServers(f)
}

// checkServers checks the servers that are needed.
func (c *Config) checkServers(f faults) {
	uses := func(source string) bool {
		return slices.ContainsFunc(c.Certificates, func(each Certificate) bool { return each.Source == source })
	}
	if uses(Certwright) {
		switch {
		case c.Server == "":
			f.say("server", "", "HOST[:PORT] or unix:PATH", "there is no server to ask")
		case strings.HasPrefix(c.Server, "unix:"):
		default:
			if _, err := client.Address(c.Server); err != nil {
				f.say("server", c.Server, "", "%v", err)
			}
		}
		if c.CAFile == "" {
			f.say("ca_file", "", "a PEM file", "without the roots neither the server nor its certificates can be verified")
		}
	}
	if uses(ACMESource) {
		c.ACME.check(f)
		if c.CAFile == "" && (c.ACME.CAFile == "" || c.ACME.TrustFile == "") {
			f.say("acme.trust_file", "", `a PEM file, or "system"`, "without roots neither the server nor its certificates can be verified: set ca_file, or acme.ca_file and acme.trust_file")
		}
	}
}

func (a *Auth) check(f faults, path string) {
	if a.Ways() > 1 {
		f.say(strings.TrimSuffix(path, "."), "", "token_file, token_command, or cert_file and key_file", "there is more than one way to prove who the agent is")
	}
	if (a.CertFile == "") != (a.KeyFile == "") {
		f.say(path+"cert_file", a.CertFile, "both or none", "cert_file and key_file belong together")
	}
	f.paths(path, map[string]string{"token_file": a.TokenFile, "cert_file": a.CertFile, "key_file": a.KeyFile})
	f.command(path+"token_command", a.TokenCommand)
}

func (a *ACME) check(f faults) {
	u, err := url.Parse(a.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(a.Directory) > maxText {
		f.say("acme.directory", a.Directory, "https://HOST/PATH", "it is not the URL of a directory over https")
	}
	f.paths("acme.", map[string]string{"ca_file": a.CAFile, "trust_file": a.TrustFile, "eab_key_file": a.EABKeyFile, "webroot": a.Webroot})
	f.oneOf("acme.challenge", a.Challenge, "http-01", "dns-01")
	if (a.EABKeyID == "") != (a.EABKeyFile == "") {
		f.say("acme.eab_key_id", a.EABKeyID, "both or none", "eab_key_id and eab_key_file belong together")
	}
	if a.Email != "" {
		f.name("acme.email", a.Email, identity.Email)
	}
	if _, _, err := net.SplitHostPort(a.HTTPAddress); err != nil {
		f.say("acme.http_address", a.HTTPAddress, "[HOST]:PORT", "it is not an address to listen on")
	}
	f.command("acme.dns_command", a.DNSCommand)
	if a.Challenge == "dns-01" && len(a.DNSCommand) == 0 {
		f.say("acme.dns_command", "", "program and arguments", "dns-01 needs a program that sets the records")
	}
}

func (c *Certificate) check(f faults, path string) {
	if !nameForm.MatchString(c.Name) {
		f.say(path+"name", c.Name, `letters, digits, "-", "_" and ".", at most 63`, "it is not a name for a certificate")
	}
	f.oneOf(path+"source", c.Source, Certwright, ACMESource)
	c.checkWish(f, path)
	f.oneOf(path+"key.type", c.Key.Type, KeyTypes()...)
	f.paths(path, map[string]string{"folder": c.Folder, "reload.pid_file": c.Reload.PIDFile})
	c.Files.check(f, path+"files.")
	f.mode(path+"mode", c.Mode, 0o660)
	f.mode(path+"public_mode", c.PublicMode, 0o664)
	c.checkHook(f, path)
	c.Auth.check(f, path+"auth.")
	if c.Source == ACMESource {
		c.checkACME(f, path)
	}
}

// checkWish checks what is asked for.
func (c *Certificate) checkWish(f faults, path string) {
	if len(c.Names) == 0 || len(c.Names) > maxNames {
		f.say(path+"names", fmt.Sprint(len(c.Names)), fmt.Sprintf("1 to %d", maxNames), "so many names cannot be in a certificate")
	}
	for i, name := range c.Names {
		f.name(fmt.Sprintf("%snames[%d]", path, i), name, "")
	}
	for key, text := range map[string]string{"profile": c.Profile, "owner": c.Owner, "file_owner": c.FileOwner, "file_group": c.FileGroup} {
		if len(text) > 128 || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			f.say(path+key, text, "at most 128 printable ASCII characters", "it is not a name")
		}
	}
	if len(c.Labels) > maxLabels {
		f.say(path+"labels", fmt.Sprint(len(c.Labels)), fmt.Sprintf("at most %d", maxLabels), "there are too many labels")
	}
	if c.Validity != 0 && c.Validity < policy.Duration(minValidity) {
		f.say(path+"validity", c.Validity.String(), "1m and more", "a certificate that is valid for less than a minute has ended before it is used")
	} else if c.Validity > policy.Duration(50*365*24*time.Hour) {
		f.say(path+"validity", c.Validity.String(), "what the profile allows", "a certificate cannot be valid so long")
	}
}

// checkACME checks what cannot be had by ACME.
func (c *Certificate) checkACME(f faults, path string) {
	for i, name := range c.Names {
		if kind := Identify(name).Type; kind != identity.DNS && kind != identity.IP {
			f.say(fmt.Sprintf("%snames[%d]", path, i), name, "DNS names and IP addresses", "such a name cannot be had by ACME")
		}
	}
	if c.Owner != "" || len(c.Labels) > 0 || c.Auth.Ways() > 0 {
		f.say(path+"source", c.Source, Certwright, "by ACME there are neither owner nor labels nor auth: the account has them")
	}
}

// mode wants permissions that let nobody more than most; that the owner can read is
// seen when they are read.
func (f faults) mode(path string, mode, most Mode) {
	if mode&^most != 0 {
		f.say(path, mode.String(), "0400 to "+most.String(), "with these permissions the files are open to all, or programs")
	}
}

func (c *Certificate) checkHook(f faults, path string) {
	f.command(path+"hook.command", c.Hook.Command)
	if t := time.Duration(c.Hook.Timeout); t < time.Second || t > maxHookTime {
		f.say(path+"hook.timeout", c.Hook.Timeout.String(), "1s to 10m", "a hook cannot have this time")
	}
	if (c.Reload.Signal == "") != (c.Reload.PIDFile == "") {
		f.say(path+"reload", "", "signal and pid_file", "signal and pid_file belong together")
	}
	if c.Reload.Signal != "" {
		f.oneOf(path+"reload.signal", c.Reload.Signal, "HUP", "USR1", "USR2", "INT", "TERM")
	}
}

// check wants plain names, each once, and a key with its certificate.
func (f *Files) check(at faults, path string) {
	all := map[string]string{"key": f.Key, "cert": f.Cert, "chain": f.Chain, "fullchain": f.Fullchain, "combined": f.Combined}
	taken := map[string]bool{}
	for _, key := range []string{"key", "cert", "chain", "fullchain", "combined"} {
		name := all[key]
		switch {
		case name == "":
		case !nameForm.MatchString(name), name == Current:
			at.say(path+key, name, "letters, digits, \"-\", \"_\" and \".\", at most 63; not "+Current, "it is not a name for a file in the folder")
		case taken[name]:
			at.say(path+key, name, "each once", "two files have this name")
		}
		taken[name] = true
	}
	if f.Combined == "" && (f.Key == "" || f.Cert == "" && f.Fullchain == "") {
		at.say(strings.TrimSuffix(path, "."), "", "combined, or key with cert or fullchain", "the files must hold key and certificate")
	}
}

// Current is the link in a certificate's folder that changes all files at once.
const Current = "current"

func (f faults) paths(prefix string, all map[string]string) {
	for key, path := range all {
		if len(path) > maxText || strings.ContainsRune(path, 0) {
			f.say(prefix+key, "", "at most 4096 bytes", "it is not a path")
		}
	}
}

func (f faults) command(path string, argv []string) {
	size := 0
	for _, arg := range argv {
		size += len(arg)
		if strings.ContainsRune(arg, 0) {
			f.say(path, "", "", "an argument has a zero byte")
			return
		}
	}
	if len(argv) > maxArguments || size > maxText || len(argv) > 0 && argv[0] == "" {
		f.say(path, "", "a program and at most 63 arguments, 4096 bytes in all", "it is not a command that is run")
	}
}

func (f faults) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.say(path, value, strings.Join(allowed, ", "), "%.64q is not known here", value)
	}
}

// name checks a name; kind is its type, "" by its form.
func (f faults) name(path, text string, kind identity.IdentifierType) {
	id := Identify(text)
	if kind != "" {
		id.Type = kind
	}
	if _, err := id.Canonical(); err != nil {
		f.say(path, text, "", "%v", err)
	}
}

// Identify sorts a name by its form, as the client does.
func Identify(text string) identity.Identifier {
	id := identity.Identifier{Type: identity.DNS, Value: text}
	switch names := client.ParseNames([]string{text}); {
	case len(names.IP) > 0:
		id.Type = identity.IP
	case len(names.URI) > 0:
		id.Type = identity.URI
	case len(names.Email) > 0:
		id.Type = identity.Email
	}
	return id
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
