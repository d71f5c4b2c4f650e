package book

import (
	"bytes"
	"context"
	"io/fs"
	"testing"

	"github.com/certwright/certwright/merkle"
)

func FuzzSplitBundle(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 'x', 0, 0})
	f.Add(bytes.Repeat([]byte{0, 0}, merkle.TileWidth+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := splitBundle(data)
		if err != nil {
			return
		}
		if len(entries) > merkle.TileWidth {
			t.Fatalf("%d entries", len(entries))
		}
		again, err := joinBundle(entries)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x reads as %x (%v)", data, again, err)
		}
	})
}

// FuzzTree reads hashes of a tree of 300 leaves from a source whose tiles are made up:
// nothing but the real hashes must come out.
func FuzzTree(f *testing.F) {
	var edge merkle.Edge
	var leaf [merkle.HashSize]byte
	var full []byte
	for i := range 300 {
		leaf[0], leaf[1] = byte(i), byte(i>>8)
		tiles, err := edge.Append(leaf)
		if err != nil {
			f.Fatal(err)
		}
		for _, tile := range tiles {
			full = tile.Hashes
		}
	}
	root, err := edge.Root()
	if err != nil {
		f.Fatal(err)
	}
	_, low := edge.Partial(0)
	_, high := edge.Partial(1)
	f.Add(full, low, high)
	f.Add([]byte{}, low, high)
	f.Add(full, low, append(bytes.Clone(high), 1))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		source := made{"tile/0/000": a, "tile/0/001.p/44": b, "tile/1/000.p/1": c}
		tree := newTree(source, Checkpoint{Size: 300, Root: root})
		hashes, err := tree.hashes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := view{hashes, 300}.leaves(0, 300)
		if err != nil {
			return
		}
		for i, leaf := range leaves {
			if int(leaf[0])+int(leaf[1])<<8 != i || leaf[2] != 0 {
				t.Fatalf("leaf %d is %x", i, leaf)
			}
		}
	})
}

// FuzzParseTBS reads what an intent says it is.
func FuzzParseTBS(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x05, 0x02, 0x01, 0x01, 0x30, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		if cert, err := parseTBS(data); err == nil && !bytes.Equal(cert.RawTBSCertificate, data) {
			t.Fatal("what was parsed is not what was given")
		}
	})
}

// made is a Source of files in memory.
type made map[string][]byte

func (m made) Read(_ context.Context, name string, _ int64) ([]byte, error) {
	if data, ok := m[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (m made) String() string { return "made up" }

// FuzzKey reads verifier keys, and names that may be an epoch's.
func FuzzKey(f *testing.F) {
	f.Add("ca.example/ledger+db5ebe6b+AVLNMDxmlUqbCFDTvxUmNcZ/1YSHzHbOKoNkgmOy1ViE")
	f.Add("ca.example/ledger/epoch-2+00000000+AVLNMDxmlUqbCFDTvxUmNcZ/1YSHzHbOKoNkgmOy1ViE")
	f.Add("x/epoch-02")
	f.Fuzz(func(t *testing.T, text string) {
		if ledger, epoch := epochOf(text); originOf(ledger, epoch) != text {
			t.Fatalf("%q is epoch %d of %q", text, epoch, ledger)
		}
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		ledger, epoch := epochOf(key.Name())
		next, ok := key.of(originOf(ledger, epoch+1))
		if ok && next.KeyHash() == key.KeyHash() {
			t.Fatalf("two epochs have the key hash %08x", next.KeyHash())
		}
	})
}
