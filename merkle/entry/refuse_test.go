package entry_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/merkle/entry"
)

// TestDraftRefuses: what has no encoding is not made.
func TestDraftRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, b := range map[string]entry.Body{
		"genesis without origin":      entry.Origin{},
		"long origin":                 entry.Origin{Origin: long},
		"long profile":                entry.Intent{Profile: long},
		"owner not UTF-8":             entry.Intent{Owner: "\xff"},
		"TBS too long":                entry.Intent{TBS: make([]byte, 1<<16)},
		"digest without key":          entry.Intent{RequestDigest: fill(1)},
		"SSH digest without key":      entry.SSH{RequestDigest: fill(1)},
		"abandoned without reason":    entry.Abandoned{},
		"reason in free text":         entry.Abandoned{Reason: "The server ended"},
		"reason too long":             entry.Abandoned{Reason: strings.Repeat("a", 65)},
		"CRLReason 7":                 entry.Revoked{Reason: 7, At: at},
		"CRLReason 11":                entry.Revoked{Reason: 11, At: at},
		"revoked without date":        entry.Revoked{},
		"revoked in 10000":            entry.Revoked{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"long shard":                  entry.CRL{Shard: long},
		"policy over 48 KiB":          entry.Policy{Document: make([]byte, entry.MaxPolicy+1)},
		"action without code":         entry.Action{},
		"detail not UTF-8":            entry.Action{Action: "a", Detail: "\xff"},
		"event in capitals":           entry.Issuer{Event: "Created"},
		"account event with a space":  entry.Account{Event: "key changed"},
		"tombstones that do not rise": entry.Retained{Tombstones: []entry.Tombstone{{Index: 2}, {Index: 2}}},
		"too many contacts":           entry.Account{Event: "created", Contacts: make([][32]byte, 2048)},
	} {
		if d, err := b.Draft("system:server"); err == nil {
			t.Errorf("%s: made %x", name, d.Body)
		}
	}
	for _, actor := range []string{long, "\xff"} {
		if _, err := (entry.Policy{}).Draft(actor); err == nil {
			t.Errorf("actor %q: made", actor)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	full := make([]byte, 65535)
	for name, row := range map[string]struct {
		entry.Draft
		at time.Time
	}{
		"long actor":  {entry.Draft{Actor: strings.Repeat("a", 256)}, at},
		"bad actor":   {entry.Draft{Actor: "\xff"}, at},
		"too long":    {entry.Draft{Body: full}, at},
		"before 1970": {entry.Draft{}, time.Unix(-1, 0)},
		"after 9999":  {entry.Draft{}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := row.Marshal(row.at); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	if _, err := (entry.Draft{Body: full[:65535-17]}).Marshal(at); err != nil {
		t.Errorf("the largest entry: %v", err)
	}
	// The largest policy document fits, with the longest actor.
	d, err := entry.Policy{Document: full[:entry.MaxPolicy]}.Draft(strings.Repeat("a", 255))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Marshal(at); err != nil {
		t.Error(err)
	}
}

// TestParseRefuses: of every golden entry no proper prefix is an entry, nor one
// with a byte more, be it at the end of the envelope, body or ext.
func TestParseRefuses(t *testing.T) {
	for name := range golden() {
		raw := readGolden(t, name)
		for n := range raw {
			if _, err := entry.Parse(raw[:n]); err == nil {
				t.Errorf("%s: the first %d octets are an entry", name, n)
			}
		}
		if _, err := entry.Parse(append(bytes.Clone(raw), 0)); err == nil {
			t.Errorf("%s: an octet more is taken", name)
		}
		e, err := entry.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for n := range e.Body {
			if _, err := entry.ParseBody(entry.Draft{Kind: e.Kind, Body: e.Body[:n], Ext: e.Ext}); err == nil {
				t.Errorf("%s: the first %d octets are a body", name, n)
			}
		}
		if _, err := entry.ParseBody(entry.Draft{Kind: e.Kind, Body: append(bytes.Clone(e.Body), 0), Ext: e.Ext}); err == nil {
			t.Errorf("%s: an octet more in the body is taken", name)
		}
		if _, err := entry.ParseBody(entry.Draft{Kind: e.Kind, Body: e.Body, Ext: append(bytes.Clone(e.Ext), 0)}); err == nil {
			t.Errorf("%s: an octet more in the ext is taken", name)
		}
		if b, err := entry.ParseBody(entry.Draft{Kind: e.Kind + 11, Body: e.Body, Ext: e.Ext}); err == nil || b != nil {
			t.Errorf("%s: taken as kind %d", name, e.Kind+11)
		}
	}
}

// TestExtHasOneEncoding: what says the same in another way is refused.
func TestExtHasOneEncoding(t *testing.T) {
	ext := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	one := func(kind byte, value []byte) []byte {
		return append([]byte{0, kind, byte(len(value) >> 8), byte(len(value))}, value...)
	}
	key, zero := fill(1), make([]byte, 32)
	body := readGolden(t, "01-intent-plain")
	e, err := entry.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		ext []byte
		ok  bool
	}{
		"none":               {nil, true},
		"key and digest":     {ext(one(1, key[:]), one(2, zero)), true},
		"labels":             {one(3, key[:]), true},
		"zero key":           {ext(one(1, zero), one(2, key[:])), false},
		"key alone":          {one(1, key[:]), false},
		"digest alone":       {one(2, key[:]), false},
		"zero digest alone":  {one(2, zero), false},
		"no labels":          {one(3, nil), false},
		"half a label":       {one(3, key[:16]), false},
		"twice":              {ext(one(3, key[:]), one(3, key[:])), false},
		"falling":            {ext(one(3, key[:]), one(1, key[:]), one(2, key[:])), false},
		"replaces":           {one(4, key[:]), true},
		"labels, replaces":   {ext(one(3, key[:]), one(4, key[:])), true},
		"replaces, labels":   {ext(one(4, key[:]), one(3, key[:])), false},
		"zero replaces":      {one(4, zero), false},
		"half of replaces":   {one(4, key[:16]), false},
		"two of replaces":    {one(4, append(key[:], key[:]...)), false},
		"empty replaces":     {one(4, nil), false},
		"unknown":            {one(5, nil), false},
		"zero":               {one(0, nil), false},
		"value is truncated": {one(3, key[:])[:30], false},
	} {
		_, err := entry.ParseIntent(entry.Draft{Kind: entry.IssuanceIntent, Body: e.Body, Ext: row.ext})
		if (err == nil) != row.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyHashIsChecked(t *testing.T) {
	e, err := entry.Parse(readGolden(t, "05-policy-change"))
	if err != nil {
		t.Fatal(err)
	}
	e.Body[len(e.Body)-1] ^= 1
	if _, err := entry.ParsePolicyChange(e.Draft); err == nil {
		t.Error("a document that is not the hash's is taken")
	}
}
