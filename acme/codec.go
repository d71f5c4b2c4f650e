package acme

import (
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
//	order:         uint8 1; text account; text status; {text type; text value} identifiers<0..2^24-1>;
//	               text authorizations<0..2^16-1>; time not_before; time not_after; text profile;
//	               text replaces; opaque replaced<0..255>; time created; time expires;
//	               opaque intent<0..255>; error
//	authorization: uint8 1; text account; text type; text value; uint8 wildcard; text status;
//	               time expires; text token; text grant; proof challenges<0..2^24-1>
//	proof:         text type; text status; time validated; error; uint16 attempts;
//	               {text host; uint16 port; opaque address<0..255> addresses<0..2^16-1>} hops<0..2^16-1>;
//	               text record
//	text:          opaque<0..2^16-1>;  time: int64 seconds;  error: opaque<0..2^24-1>, JSON or empty
const codecVersion = 1

// errCodec: a body is not what this program writes.
var errCodec = errors.New("the record cannot be read")

// isShort tells a body in the short form from JSON.
func isShort(body []byte) bool { return len(body) > 0 && body[0] != '{' }

func addText[T ~string | ~[]byte](b *cryptobyte.Builder, text T) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
}

func addTime(b *cryptobyte.Builder, t time.Time) { b.AddUint64(uint64(t.Unix())) }

func addError(b *cryptobyte.Builder, d *Document) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		if d != nil {
			b.AddBytes(mustJSON(d))
		}
	})
}

// fields reads a body field by field; after the first that is not there all are
// empty.
type fields struct {
	cryptobyte.String
	failed bool
}

func (f *fields) check(ok bool) { f.failed = f.failed || !ok }

func (f *fields) text() string {
	var value cryptobyte.String
	f.check(f.ReadUint16LengthPrefixed(&value))
	return string(value)
}

// small is a list or an opaque of at most 255 octets, big16 and big24 are longer ones.
func (f *fields) small() (inner fields) {
	f.check(f.ReadUint8LengthPrefixed(&inner.String))
	return inner
}

func (f *fields) big16() (inner fields) {
	f.check(f.ReadUint16LengthPrefixed(&inner.String))
	return inner
}

func (f *fields) big24() (inner fields) {
	f.check(f.ReadUint24LengthPrefixed(&inner.String))
	return inner
}

func (f *fields) octet() (value uint8) {
	f.check(f.ReadUint8(&value))
	return value
}

func (f *fields) number() (value uint16) {
	f.check(f.ReadUint16(&value))
	return value
}

func (f *fields) time() time.Time {
	var seconds uint64
	f.check(f.ReadUint64(&seconds))
	return time.Unix(int64(seconds), 0).UTC()
}

func (f *fields) problem() *Document {
	inner := f.big24()
	if inner.Empty() {
		return nil
	}
	d := new(Document)
	f.check(json.Unmarshal(inner.String, d) == nil)
	return d
}

// end is nil if the body was whole and nothing is left of it.
func (f *fields) end() error {
	if f.failed || !f.Empty() {
		return errCodec
	}
	return nil
}

// more tells whether a list within f goes on; what failed in it fails f.
func (f *fields) more(list *fields) bool {
	f.failed = f.failed || list.failed
	return !f.failed && !list.Empty()
}

// marshal is the order in the short form.
func (o *order) marshal() ([]byte, error) {
	intent, err := hex.DecodeString(o.Intent)
	if err != nil {
		return nil, fmt.Errorf("order %s: intent: %w", o.ID, err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 384))
	b.AddUint8(codecVersion)
	addText(b, o.Account)
	addText(b, o.Status)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, id := range o.Identifiers {
			addText(b, id.Type)
			addText(b, id.Value)
		}
	})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, id := range o.Authorizations {
			addText(b, id)
		}
	})
	addTime(b, o.NotBefore)
	addTime(b, o.NotAfter)
	addText(b, o.Profile)
	addText(b, o.Replaces)
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(o.Replaced) })
	addTime(b, o.Created)
	addTime(b, o.Expires)
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(intent) })
	addError(b, o.Error)
	return b.Bytes()
}

// unmarshal reads what marshal has written, or JSON.
func (o *order) unmarshal(body []byte) error {
	if !isShort(body) {
		return json.Unmarshal(body, o)
	}
	f := fields{String: body}
	f.check(f.octet() == codecVersion)
	o.Account, o.Status = f.text(), f.text()
	for list := f.big24(); f.more(&list); {
		o.Identifiers = append(o.Identifiers, Identifier{list.text(), list.text()})
	}
	for list := f.big16(); f.more(&list); {
		o.Authorizations = append(o.Authorizations, list.text())
	}
	o.NotBefore, o.NotAfter = f.time(), f.time()
	o.Profile, o.Replaces = f.text(), f.text()
	if replaced := f.small(); !replaced.Empty() {
		o.Replaced = replaced.String
	}
	o.Created, o.Expires = f.time(), f.time()
	intent := f.small()
	o.Intent = hex.EncodeToString(intent.String)
	o.Error = f.problem()
	return f.end()
}

// marshal is the authorization in the short form.
func (z *authorization) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 384))
	b.AddUint8(codecVersion)
	addText(b, z.Account)
	addText(b, z.Identifier.Type)
	addText(b, z.Identifier.Value)
	wildcard := uint8(0)
	if z.Wildcard {
		wildcard = 1
	}
	b.AddUint8(wildcard)
	addText(b, z.Status)
	addTime(b, z.Expires)
	addText(b, z.Token)
	addText(b, z.Grant)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for i := range z.Challenges {
			z.Challenges[i].marshal(b)
		}
	})
	return b.Bytes()
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
	z.Challenges = []proof{}
	for list := f.big24(); f.more(&list); {
		z.Challenges = append(z.Challenges, readProof(&list))
	}
	return f.end()
}

func (c *proof) marshal(b *cryptobyte.Builder) {
	addText(b, c.Type)
	addText(b, c.Status)
	addTime(b, c.Validated)
	addError(b, c.Error)
	b.AddUint16(uint16(min(c.Attempts, 1<<16-1)))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, hop := range c.Hops {
			addText(b, hop.Host)
			b.AddUint16(uint16(hop.Port))
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, addr := range hop.Addresses {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(addr.AsSlice()) })
				}
			})
		}
	})
	addText(b, c.Record)
}

func readProof(f *fields) proof {
	c := proof{Type: f.text(), Status: f.text(), Validated: f.time(), Error: f.problem(), Attempts: int(f.number())}
	for hops := f.big16(); f.more(&hops); {
		hop := egress.Hop{Host: hops.text(), Port: int(hops.number())}
		for addrs := hops.big16(); hops.more(&addrs); {
			raw := addrs.small()
			addr, ok := netip.AddrFromSlice(raw.String)
			hops.check(ok)
			hop.Addresses = append(hop.Addresses, addr)
		}
		c.Hops = append(c.Hops, hop)
	}
	c.Record = f.text()
	return c
}
