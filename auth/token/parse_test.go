package token

import (
	"bytes"
	"testing"

	"github.com/certwright/certwright/storage"
)

// TestParseByOctets: what is held parsed is for these octets, whatever ID and version say.
func TestParseByOctets(t *testing.T) {
	put := func(owner string) storage.Record {
		r := record{Hash: make([]byte, 32), Owner: owner}
		c, err := r.put("a", 1)
		if err != nil {
			t.Fatal(err)
		}
		return storage.Record{ID: "a", Version: 1, Body: bytes.Clone(c.Body)}
	}
	tokens := New(Config{})
	for _, owner := range []string{"one", "two", "one"} {
		for range 2 {
			r := put(owner)
			if got, err := tokens.parse(r); err != nil || got.Owner != owner {
				t.Errorf("%s: %q %v", owner, got.Owner, err)
			}
			clear(r.Body) // the store's, which may be written over
		}
	}
}
