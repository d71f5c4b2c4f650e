package merkle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
)

// tree keeps the same leaves twice: as tiles by an Edge, and as tlog's own flat
// list of stored hashes.
type tree struct {
	edge   merkle.Edge
	full   map[[2]uint64][]byte
	stored []tlog.Hash
}

func (tr *tree) flat() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = tr.stored[index]
		}
		return out, nil
	})
}

func (tr *tree) append(t testing.TB, record []byte) {
	t.Helper()
	hashes, err := tlog.StoredHashes(int64(tr.edge.Size()), record, tr.flat())
	if err != nil {
		t.Fatal(err)
	}
	tr.stored = append(tr.stored, hashes...)
	full, err := tr.edge.Append(tlog.RecordHash(record))
	if err != nil {
		t.Fatal(err)
	}
	for _, tile := range full {
		key := [2]uint64{uint64(tile.Level), tile.N}
		if tr.full[key] != nil {
			t.Fatalf("tile %v is completed twice", key)
		}
		if tr.full == nil {
			tr.full = map[[2]uint64][]byte{}
		}
		tr.full[key] = tile.Hashes
	}
}

func (tr *tree) read(level int, n uint64, width int) ([]byte, error) {
	if full := tr.full[[2]uint64{uint64(level), n}]; full != nil {
		return full[:width*merkle.HashSize], nil
	}
	if at, hashes := tr.edge.Partial(level); at == n && len(hashes) >= width*merkle.HashSize {
		return hashes[:width*merkle.HashSize], nil
	}
	return nil, errors.New("no such tile")
}

func record(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("record "), i) }

func (tr *tree) check(t testing.TB) {
	t.Helper()
	size := int64(tr.edge.Size())
	want, err := tlog.TreeHash(size, tr.flat())
	if err != nil {
		t.Fatal(err)
	}
	root, err := tr.edge.Root()
	if err != nil || root != want {
		t.Fatalf("root of %d leaves is %x (%v), tlog says %x", size, root, err, want)
	}
	encoded := tr.edge.Marshal()
	parsed, err := merkle.ParseEdge(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parsed.Root(); err != nil || again != root || parsed.Size() != tr.edge.Size() {
		t.Fatalf("the parsed edge of %d leaves has another root (%v)", size, err)
	}
	if !bytes.Equal(parsed.Marshal(), encoded) {
		t.Fatalf("the edge of %d leaves changes when it is parsed", size)
	}
}

func TestEdgeAllSizes(t *testing.T) {
	var tr tree
	tr.check(t)
	for i := range uint64(1100) {
		tr.append(t, record(i))
		tr.check(t)
	}
}

// TestTiles compares every tile of a tree of three levels with what tlog says
// is in it.
func TestTiles(t *testing.T) {
	var tr tree
	for i := range uint64(merkle.TileWidth*merkle.TileWidth + 300) {
		tr.append(t, record(i))
	}
	tr.check(t)
	tiles := tlog.NewTiles(merkle.Height, 0, int64(tr.edge.Size()))
	for _, tile := range tiles {
		want, err := tlog.ReadTileData(tile, tr.flat())
		if err != nil {
			t.Fatal(err)
		}
		got, err := tr.read(tile.L, uint64(tile.N), tile.W)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("tile %s differs (%v)", tile.Path(), err)
		}
	}
	if len(tiles) < 259 {
		t.Errorf("only %d tiles", len(tiles))
	}
}

// TestReaderProves draws sizes and leaves at random and proves each leaf from
// the tiles alone.
func TestReaderProves(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tr tree
	for range 20 {
		for range 1 + rng.IntN(700) {
			tr.append(t, record(tr.edge.Size()))
		}
		tr.check(t)
		root, err := tr.edge.Root()
		if err != nil {
			t.Fatal(err)
		}
		reader, err := merkle.NewReader(tr.edge.Size(), root, tr.read)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(tr.edge.Size())
		for range 10 {
			n := rng.Int64N(size)
			proof, err := tlog.ProveRecord(size, n, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, size, root, n, tlog.RecordHash(record(uint64(n)))); err != nil {
				t.Fatalf("leaf %d of %d: %v", n, size, err)
			}
		}
	}
}

func TestReaderRefusesWrongTiles(t *testing.T) {
	var tr tree
	for i := range uint64(600) {
		tr.append(t, record(i))
	}
	root, err := tr.edge.Root()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := merkle.NewReader(600, root, func(level int, n uint64, width int) ([]byte, error) {
		data, err := tr.read(level, n, width)
		data = bytes.Clone(data)
		data[7] ^= 1
		return data, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tlog.ProveRecord(600, 3, reader); err == nil {
		t.Error("a changed tile gives a proof")
	}
}

func TestCloneIsIndependent(t *testing.T) {
	var tr tree
	for i := range uint64(200) {
		tr.append(t, record(i))
	}
	before := tr.edge.Marshal()
	clone := tr.edge.Clone()
	for i := range uint64(100) {
		if _, err := clone.Append(tlog.RecordHash(record(i))); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(before, tr.edge.Marshal()) {
		t.Error("appending to the clone changed the original")
	}
}

func FuzzParseEdge(f *testing.F) {
	var tr tree
	for i := range uint64(600) {
		if i%97 == 0 {
			f.Add(tr.edge.Marshal())
		}
		tr.append(f, record(i))
	}
	f.Add([]byte(nil))
	f.Add(bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := merkle.ParseEdge(data)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Marshal(), data) {
			t.Error("parse and marshal is not the identity")
		}
		if _, err := e.Root(); err != nil {
			t.Errorf("root: %v", err)
		}
		if e.Size() == merkle.MaxSize {
			return
		}
		if _, err := e.Append([32]byte{1}); err != nil {
			t.Errorf("append: %v", err)
		}
	})
}
