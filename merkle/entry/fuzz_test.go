package entry_test

import (
	"bytes"
	"testing"

	"github.com/certwright/certwright/merkle/entry"
)

// FuzzParse: whatever parses as an entry has that one encoding.
func FuzzParse(f *testing.F) {
	for name := range golden() {
		f.Add(readGolden(f, name))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := entry.Parse(raw)
		if err != nil {
			return
		}
		again, err := e.Marshal(e.Time)
		if err != nil {
			t.Fatalf("parses, but does not marshal: %v", err)
		}
		if !bytes.Equal(again, raw) {
			t.Fatalf("marshals as\n%x, was\n%x", again, raw)
		}
	})
}

// FuzzParseBody: whatever parses as a body, of any kind, has that one encoding.
func FuzzParseBody(f *testing.F) {
	for name := range golden() {
		e, err := entry.Parse(readGolden(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(e.Kind), e.Actor, e.Body, e.Ext)
	}
	f.Fuzz(func(t *testing.T, kind uint16, actor string, body, ext []byte) {
		b, err := entry.ParseBody(entry.Draft{Kind: entry.Kind(kind), Actor: actor, Body: body, Ext: ext})
		if err != nil {
			return
		}
		d, err := b.Draft("system:server")
		if err != nil {
			t.Fatalf("kind %d parses, but has no draft: %v", kind, err)
		}
		if d.Kind != entry.Kind(kind) || !bytes.Equal(d.Body, body) || !bytes.Equal(d.Ext, ext) {
			t.Fatalf("kind %d: drafts as\n%x %x, was\n%x %x", kind, d.Body, d.Ext, body, ext)
		}
	})
}
