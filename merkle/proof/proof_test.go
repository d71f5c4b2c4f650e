package proof_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/proof"
)

// world is a tree of n entries, and a proof of one of them.
func world(t testing.TB, n, index uint64) (p proof.Proof, root [32]byte) {
	t.Helper()
	var edge merkle.Edge
	full := map[layoutKey][]byte{}
	for i := range n {
		tiles, err := edge.Append(merkle.LeafHash(fmt.Appendf(nil, "entry %d", i)))
		if err != nil {
			t.Fatal(err)
		}
		for _, tile := range tiles {
			full[layoutKey{tile.Level, tile.N}] = tile.Hashes
		}
	}
	root, err := edge.Root()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := merkle.NewReader(n, root, func(level int, n uint64, width int) ([]byte, error) {
		hashes := full[layoutKey{level, n}]
		if hashes == nil {
			_, hashes = edge.Partial(level)
		}
		return hashes[:width*merkle.HashSize], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path, err := tlog.ProveRecord(int64(n), int64(index), reader)
	if err != nil {
		t.Fatal(err)
	}
	p = proof.Proof{Entry: fmt.Appendf(nil, "entry %d", index), Index: index}
	for _, hash := range path {
		p.Path = append(p.Path, hash)
	}
	p.Checkpoint = fmt.Appendf(nil, "ca.example/ledger\n%d\n%s\n\n— ca.example/ledger AAAA\n", n, base64.StdEncoding.EncodeToString(root[:]))
	return p, root
}

type layoutKey struct {
	level int
	n     uint64
}

func marshal(t testing.TB, p proof.Proof) []byte {
	t.Helper()
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []uint64{1, 2, 3, 255, 256, 257, 700} {
		for _, index := range []uint64{0, size / 2, size - 1} {
			p, root := world(t, size, index)
			data := marshal(t, p)
			got, err := proof.Parse(data)
			if err != nil {
				t.Fatalf("%d of %d: %v\n%s", index, size, err, data)
			}
			if err := got.Check(size, root); err != nil {
				t.Errorf("%d of %d: %v", index, size, err)
			}
			if !bytes.Equal(got.Checkpoint, p.Checkpoint) || !bytes.Equal(got.Entry, p.Entry) {
				t.Errorf("%d of %d: what is read is not what was written", index, size)
			}
		}
	}
}

// TestFormat holds the text itself: the lines of C2SP tlog-proof.
func TestFormat(t *testing.T) {
	p, _ := world(t, 3, 2)
	hash := base64.StdEncoding.EncodeToString(p.Path[0][:])
	want := "c2sp.org/tlog-proof@v1\nextra ZW50cnkgMg==\nindex 2\n" + hash + "\n\n" + string(p.Checkpoint)
	if got := marshal(t, p); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestEveryBitCounts flips every bit of the part before the checkpoint, and cuts
// the file at every octet: no such file is read and holds.
func TestEveryBitCounts(t *testing.T) {
	p, root := world(t, 300, 17)
	data := marshal(t, p)
	end := len(data) - len(p.Checkpoint)
	for i := range end {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if got, err := proof.Parse(bad); err == nil && bytes.Equal(got.Checkpoint, p.Checkpoint) && got.Check(300, root) == nil {
				t.Fatalf("bit %d of octet %d (%q) flipped: the proof holds", bit, i, data[i])
			}
		}
	}
	for i := range end + 1 {
		if _, err := proof.Parse(data[:i]); err == nil {
			t.Fatalf("cut after %d octets: read", i)
		}
	}
}

func TestRefused(t *testing.T) {
	p, root := world(t, 300, 17)
	good := string(marshal(t, p))
	hash := base64.StdEncoding.EncodeToString(p.Path[0][:])
	for name, bad := range map[string]string{
		"nothing":              "",
		"another version":      strings.Replace(good, "@v1", "@v2", 1),
		"no entry":             strings.Replace(good, "extra "+base64.StdEncoding.EncodeToString(p.Entry)+"\n", "", 1),
		"an empty entry":       strings.Replace(good, base64.StdEncoding.EncodeToString(p.Entry), "", 1),
		"leading zero":         strings.Replace(good, "index 17", "index 017", 1),
		"negative":             strings.Replace(good, "index 17", "index -17", 1),
		"huge index":           strings.Replace(good, "index 17", "index 18446744073709551615", 1),
		"a short hash":         strings.Replace(good, hash, "AAAA", 1),
		"base64 without end":   strings.Replace(good, hash, strings.TrimRight(hash, "="), 1),
		"carriage returns":     strings.ReplaceAll(good, "\n", "\r\n"),
		"too many hashes":      strings.Replace(good, hash+"\n", strings.Repeat(hash+"\n", 60), 1),
		"no checkpoint":        good[:strings.Index(good, "\n\n")+2],
		"too large checkpoint": good + strings.Repeat("x", 1<<16),
		"too large":            good + strings.Repeat("x", 1<<20),
	} {
		if _, err := proof.Parse([]byte(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	for name, check := range map[string]func(p proof.Proof) error{
		"another size":  func(p proof.Proof) error { return p.Check(2000, root) },
		"too small":     func(p proof.Proof) error { return p.Check(17, root) },
		"too large":     func(p proof.Proof) error { return p.Check(1<<62, root) },
		"another root":  func(p proof.Proof) error { return p.Check(300, [32]byte{}) },
		"another index": func(p proof.Proof) error { p.Index++; return p.Check(300, root) },
		"another entry": func(p proof.Proof) error { p.Entry = append(p.Entry, ' '); return p.Check(300, root) },
		"a hash fewer":  func(p proof.Proof) error { p.Path = p.Path[1:]; return p.Check(300, root) },
	} {
		if check(p) == nil {
			t.Errorf("%s: holds", name)
		}
	}
	for _, p := range []proof.Proof{{}, {Entry: []byte("x")}, {Entry: make([]byte, 65536), Checkpoint: []byte("x")}, {Entry: []byte("x"), Checkpoint: []byte("x"), Path: make([][32]byte, 64)}} {
		if _, err := p.Marshal(); err == nil {
			t.Errorf("%+v is written", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, size := range []uint64{1, 2, 300} {
		p, _ := world(f, size, size/2)
		f.Add(marshal(f, p))
	}
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := proof.Parse(data)
		if err != nil {
			return
		}
		if again := marshal(t, p); !bytes.Equal(again, data) {
			t.Errorf("parse and marshal is not the identity:\n%q\n%q", data, again)
		}
		_ = p.Check(p.Index+1, [32]byte{})
	})
}
