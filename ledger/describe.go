package ledger

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
)

// Description is an entry for people and programs that need not know the
// format. The truth is the raw entry.
type Description struct {
	Version uint16
	Kind    entry.Kind
	Time    time.Time
	Actor   string
	Fields  []Field // in the order of the body
	Summary string  // one line; may hold any character of the entry's texts
}

// Field is one named value as text: hashes and numbers of certificates in
// hexadecimal, times in RFC 3339, lists separated by spaces. What is not set is
// left out, and so is the TBS: what is of use in it has fields.
type Field struct{ Name, Value string }

// Describe reads a raw entry. An entry of a kind that is not known is described
// by its envelope, with body and ext in hexadecimal. An error: it is not an
// entry, or the body is not one of its kind.
func Describe(raw []byte) (Description, error) {
	e, err := entry.Parse(raw)
	if err != nil {
		return Description{}, err
	}
	d := Description{Version: entry.Version, Kind: e.Kind, Time: e.Time, Actor: e.Actor}
	if e.Kind > entry.SSHIntent {
		d.add("body", hex.EncodeToString(e.Body))
		d.add("ext", hex.EncodeToString(e.Ext))
		d.Summary = fmt.Sprintf("an entry of a kind that is not known, by %s", e.Actor)
		return d, nil
	}
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		return Description{}, err
	}
	switch b := body.(type) {
	case entry.Origin:
		d.genesis(b)
	case entry.Intent:
		d.intent(b)
	case entry.SSH:
		d.ssh(b)
	case entry.Abandoned:
		d.add("index", strconv.FormatUint(b.Index, 10))
		d.add("reason", b.Reason)
		d.Summary = fmt.Sprintf("gave up the intent of entry %d: %s", b.Index, b.Reason)
	case entry.Revoked:
		d.revocation(b)
	case entry.Policy:
		hash := b.Hash()
		d.hash("policy", hash)
		d.add("document", string(b.Document))
		d.Summary = fmt.Sprintf("%s activated the policy %x", e.Actor, hash[:8])
	default:
		d.event(body)
	}
	return d, nil
}

func (d *Description) add(name, value string) {
	if value != "" {
		d.Fields = append(d.Fields, Field{name, value})
	}
}

func (d *Description) hash(name string, h [32]byte) {
	if h != ([32]byte{}) {
		d.add(name, hex.EncodeToString(h[:]))
	}
}

func (d *Description) hashes(name string, list [][32]byte) {
	var all []string
	for _, h := range list {
		all = append(all, hex.EncodeToString(h[:]))
	}
	d.add(name, strings.Join(all, " "))
}

func (d *Description) genesis(o entry.Origin) {
	d.add("origin", o.Origin)
	d.hashes("certificates", o.Certificates)
	d.add("previous", string(o.Previous))
	d.Summary = "the ledger " + o.Origin + " begins"
}

func (d *Description) intent(i entry.Intent) {
	what := "a certificate"
	if serial, err := serialOf(i.TBS); err == nil {
		d.add("serial", serial.String())
		what = "serial " + serial.String()
	}
	if cert, err := parseTBS(i.TBS); err == nil {
		names := strings.Join(namesOf(cert), " ")
		d.add("names", names)
		d.add("not_before", cert.NotBefore.UTC().Format(time.RFC3339))
		d.add("not_after", cert.NotAfter.UTC().Format(time.RFC3339))
		if key, err := identity.KeyIDOf(cert.PublicKey); err == nil {
			d.hash("key", key)
		}
		what = names + ", " + what
	}
	d.asked(i.Issuer, i.Profile, i.Policy, i.Grant, i.Evidence, i.Owner)
	d.hash("csr", i.CSR)
	d.hash("request_key", i.RequestKey)
	d.hash("request_digest", i.RequestDigest)
	d.hashes("labels", i.Labels)
	d.hash("replaces", i.Replaces)
	d.Summary = fmt.Sprintf("%s asked for %s (%s)", d.Actor, what, i.Profile)
}

// namesOf lists the names of a certificate as identifiers.
func namesOf(cert *x509.Certificate) []string {
	var names []string
	add := func(t identity.IdentifierType, value string) {
		names = append(names, identity.Identifier{Type: t, Value: value}.String())
	}
	for _, n := range cert.DNSNames {
		add(identity.DNS, n)
	}
	for _, ip := range cert.IPAddresses {
		add(identity.IP, ip.String())
	}
	for _, u := range cert.URIs {
		add(identity.URI, u.String())
	}
	for _, m := range cert.EmailAddresses {
		add(identity.Email, m)
	}
	return names
}

// asked describes what all intents have in common.
func (d *Description) asked(issuer [32]byte, profile string, policy [32]byte, grant string, evidence [32]byte, owner string) {
	d.add("owner", owner)
	d.add("profile", profile)
	d.add("grant", grant)
	d.hash("issuer", issuer)
	d.hash("policy", policy)
	d.hash("evidence", evidence)
}

func (d *Description) ssh(i entry.SSH) {
	d.asked(i.Issuer, i.Profile, i.Policy, i.Grant, i.Evidence, i.Owner)
	d.add("unsigned", hex.EncodeToString(i.Unsigned))
	d.hash("request_key", i.RequestKey)
	d.hash("request_digest", i.RequestDigest)
	d.hashes("labels", i.Labels)
	d.hash("replaces", i.Replaces)
	d.Summary = fmt.Sprintf("%s asked for an SSH certificate (%s)", d.Actor, i.Profile)
}

func (d *Description) revocation(r entry.Revoked) {
	serial, reason := identity.Serial(r.Serial), identity.RevocationReason(r.Reason)
	d.hash("issuer", r.Issuer)
	d.add("serial", serial.String())
	d.add("reason", reason.String())
	d.add("revoked_at", r.At.Format(time.RFC3339Nano))
	d.Summary = fmt.Sprintf("%s revoked %s: %s", d.Actor, serial, reason)
}

func (d *Description) event(body entry.Body) {
	switch b := body.(type) {
	case entry.Issuer:
		d.add("event", b.Event)
		d.hash("issuer", b.Issuer)
		d.hash("certificate", b.Certificate)
		d.hash("transcript", b.Transcript)
		d.Summary = fmt.Sprintf("issuer %x: %s", b.Issuer[:8], b.Event)
	case entry.Action:
		d.add("action", b.Action)
		d.add("target", b.Target)
		d.add("detail", b.Detail)
		d.hashes("commitments", b.Commitments)
		d.Summary = strings.TrimSpace(fmt.Sprintf("%s: %s %s", d.Actor, b.Action, b.Target))
	case entry.Account:
		d.add("event", b.Event)
		d.add("account", b.Account)
		d.hash("key", b.Key)
		d.add("eab", b.EAB)
		d.hashes("contacts", b.Contacts)
		d.Summary = fmt.Sprintf("account %s: %s", b.Account, b.Event)
	case entry.CRL:
		d.hash("issuer", b.Issuer)
		d.add("shard", b.Shard)
		d.add("number", strconv.FormatUint(b.Number, 10))
		d.hash("sha256", b.SHA256)
		d.Summary = fmt.Sprintf("CRL %d of shard %s", b.Number, b.Shard)
	case entry.Retained:
		d.add("minimum", strconv.FormatUint(b.Minimum, 10))
		var gone []string
		for _, t := range b.Tombstones {
			gone = append(gone, fmt.Sprintf("%d:%x", t.Index, t.Leaf))
		}
		d.add("tombstones", strings.Join(gone, " "))
		d.Summary = fmt.Sprintf("entries below %d, and %d more, need not be kept", b.Minimum, len(b.Tombstones))
	}
}
