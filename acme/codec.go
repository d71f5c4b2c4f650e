package acme

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certwright/certwright/egress"
)

// Orders and authorizations are written five times in a flow and read a dozen times:
// their bodies are in a short form, a third of the JSON that they were at first. It
// is read by its first octet; '{' is still read as JSON.
//
//	order:         uint8 1; text account; text status; uint16 n; n times {text type; text value} identifiers;
//	               uint16 n; n times text authorizations; time not_before; time not_after; text profile;
//	               text replaces; text replaced, in octets; time created; time expires;
//	               text intent, in octets; error
//	authorization: uint8 1; text account; text type; text value; uint8 wildcard; text status;
//	               time expires; text token; text grant; uint16 n; n times proof
//	proof:         text type; text status; time validated; error; uint16 attempts;
//	               uint16 n; n times {text host; uint16 port; uint16 n; n times text address, in octets} hops;
//	               text record
//	text:          opaque<0..2^16-1>;  time: int64 seconds;  error: text of JSON, or empty
const codecVersion = 1

// errCodec: a body is not what this program writes.
var errCodec = errors.New("the record cannot be read")

// isShort tells a body in the short form from JSON.
func isShort(body []byte) bool { return len(body) > 0 && body[0] != '{' }

// body is written field by field.
type body struct {
	octets []byte
	failed bool // something does not fit
}

func newBody() *body { return &body{octets: append(make([]byte, 0, 384), codecVersion)} }

func (b *body) number(n int) {
	b.failed = b.failed || n < 0 || n >= 1<<16
	b.octets = binary.BigEndian.AppendUint16(b.octets, uint16(n))
}

func (b *body) text(text string) {
	b.number(len(text))
	b.octets = append(b.octets, text...)
}

func (b *body) time(t time.Time) {
	b.octets = binary.BigEndian.AppendUint64(b.octets, uint64(t.Unix()))
}

func (b *body) problem(d *Document) {
	if d == nil {
		b.number(0)
		return
	}
	b.text(string(mustJSON(d)))
}

func (b *body) end() ([]byte, error) {
	if b.failed {
		return nil, errors.New("a field of the record is too long")
	}
	return b.octets, nil
}

// fields reads a body field by field; after the first that is not there all are
// empty.
type fields struct {
	cryptobyte.String
	failed bool
}

func (f *fields) check(ok bool) { f.failed = f.failed || !ok }

func (f *fields) text() string { return string(f.octets()) }

func (f *fields) octets() []byte {
	var value cryptobyte.String
	f.check(f.ReadUint16LengthPrefixed(&value))
	return value
}

func (f *fields) octet() (value uint8) {
	f.check(f.ReadUint8(&value))
	return value
}

func (f *fields) number() int {
	var value uint16
	f.check(f.ReadUint16(&value))
	return int(value)
}

// count is how many fields of at least so many octets follow.
func (f *fields) count(size int) int {
	n := f.number()
	if f.check(n*size <= len(f.String)); f.failed {
		return 0
	}
	return n
}

func (f *fields) time() time.Time {
	var seconds uint64
	f.check(f.ReadUint64(&seconds))
	return time.Unix(int64(seconds), 0).UTC()
}

func (f *fields) problem() *Document {
	text := f.octets()
	if len(text) == 0 {
		return nil
	}
	d := new(Document)
	f.check(json.Unmarshal(text, d) == nil)
	return d
}

// end is nil if the body was whole and nothing is left of it.
func (f *fields) end() error {
	if f.failed || !f.Empty() {
		return errCodec
	}
	return nil
}

// marshal is the order in the short form.
func (o *order) marshal() ([]byte, error) {
	intent, err := hex.DecodeString(o.Intent)
	if err != nil {
		return nil, fmt.Errorf("order %s: intent: %w", o.ID, err)
	}
	b := newBody()
	b.text(o.Account)
	b.text(o.Status)
	b.number(len(o.Identifiers))
	for _, id := range o.Identifiers {
		b.text(id.Type)
		b.text(id.Value)
	}
	b.number(len(o.Authorizations))
	for _, id := range o.Authorizations {
		b.text(id)
	}
	b.time(o.NotBefore)
	b.time(o.NotAfter)
	b.text(o.Profile)
	b.text(o.Replaces)
	b.text(string(o.Replaced))
	b.time(o.Created)
	b.time(o.Expires)
	b.text(string(intent))
	b.problem(o.Error)
	return b.end()
}

// unmarshal reads what marshal has written, or JSON.
func (o *order) unmarshal(body []byte) error {
	if !isShort(body) {
		return json.Unmarshal(body, o)
	}
	f := fields{String: body}
	f.check(f.octet() == codecVersion)
	o.Account, o.Status = f.text(), f.text()
	for range f.count(4) {
		o.Identifiers = append(o.Identifiers, Identifier{f.text(), f.text()})
	}
	for range f.count(2) {
		o.Authorizations = append(o.Authorizations, f.text())
	}
	o.NotBefore, o.NotAfter = f.time(), f.time()
	o.Profile, o.Replaces = f.text(), f.text()
	if replaced := f.octets(); len(replaced) > 0 {
		o.Replaced = replaced
	}
	o.Created, o.Expires = f.time(), f.time()
	o.Intent = hex.EncodeToString(f.octets())
	o.Error = f.problem()
	return f.end()
}

// marshal is the authorization in the short form.
func (z *authorization) marshal() ([]byte, error) {
	b := newBody()
	b.text(z.Account)
	b.text(z.Identifier.Type)
	b.text(z.Identifier.Value)
	wildcard := byte(0)
	if z.Wildcard {
		wildcard = 1
	}
	b.octets = append(b.octets, wildcard)
	b.text(z.Status)
	b.time(z.Expires)
	b.text(z.Token)
	b.text(z.Grant)
	b.number(len(z.Challenges))
	for i := range z.Challenges {
		z.Challenges[i].marshal(b)
	}
	return b.end()
}

// unmarshal reads what marshal has written, or JSON.
func (z *authorization) unmarshal(body []byte) error {
	if !isShort(body) {
		return json.Unmarshal(body, z)
	}
	f := fields{String: body}
	f.check(f.octet() == codecVersion)
	z.Account = f.text()
	z.Identifier = Identifier{f.text(), f.text()}
	wildcard := f.octet()
	f.check(wildcard <= 1)
	z.Wildcard = wildcard == 1
	z.Status, z.Expires, z.Token, z.Grant = f.text(), f.time(), f.text(), f.text()
	n := f.count(20)
	z.Challenges = make([]proof, n)
	for i := range n {
		z.Challenges[i].unmarshal(&f)
	}
	return f.end()
}

func (c *proof) marshal(b *body) {
	b.text(c.Type)
	b.text(c.Status)
	b.time(c.Validated)
	b.problem(c.Error)
	b.number(min(c.Attempts, 1<<16-1))
	b.number(len(c.Hops))
	for _, hop := range c.Hops {
		b.text(hop.Host)
		b.number(hop.Port)
		b.number(len(hop.Addresses))
		for _, addr := range hop.Addresses {
			b.text(string(addr.AsSlice()))
		}
	}
	b.text(c.Record)
}

func (c *proof) unmarshal(f *fields) {
	c.Type, c.Status, c.Validated, c.Error, c.Attempts = f.text(), f.text(), f.time(), f.problem(), f.number()
	for range f.count(6) {
		hop := egress.Hop{Host: f.text(), Port: f.number()}
		for range f.count(2) {
			addr, ok := netip.AddrFromSlice(f.octets())
			f.check(ok)
			hop.Addresses = append(hop.Addresses, addr)
		}
		c.Hops = append(c.Hops, hop)
	}
	c.Record = f.text()
}
