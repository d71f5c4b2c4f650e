package publish_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/merkle/proof"
)

// update writes golden vectors that are not there yet; one that is there is the
// format, and is never changed.
var update = flag.Bool("update", false, "write golden vectors that are missing")

const (
	goldenDir  = "testdata/golden"
	goldenSize = 300
	// goldenKey is the verifier key of the golden ledger, whose seed is 32 octets of 7.
	goldenKey = "ca.example/ledger+b455bb19+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
)

// goldenProofs are the indexes with a proof among the vectors.
var goldenProofs = map[string]uint64{"0000": 0, "0017": 17, "0255": 255, "0256": 256, "0299": 299}

// TestGoldenVectorsHold checks the vectors as an outsider does, with the verifier
// key alone: the checkpoint, every tile and entry, the proofs, and that an older
// checkpoint is a beginning.
func TestGoldenVectorsHold(t *testing.T) {
	folder := publish.Folder(goldenDir)
	note, err := folder.File(t.Context(), layout.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := ledger.ParseCheckpoint(note, goldenKey)
	if err != nil || cp.Size != goldenSize || cp.Origin != origin {
		t.Fatalf("%+v: %v", cp, err)
	}
	old, err := os.ReadFile(filepath.Join(goldenDir, "older", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	older, err := ledger.ParseCheckpoint(old, goldenKey)
	if err != nil || older.Size != 100 {
		t.Fatalf("%+v: %v", older, err)
	}
	if err := publish.Consistent(t.Context(), folder, older, cp); err != nil {
		t.Error(err)
	}
	for name, index := range goldenProofs {
		data, err := os.ReadFile(filepath.Join(goldenDir, name+proof.Ending))
		if err != nil {
			t.Fatal(err)
		}
		p, under, err := ledger.OpenProof(data, goldenKey)
		if err != nil || p.Index != index || under.Root != cp.Root {
			t.Errorf("%s: entry %d, %v", name, p.Index, err)
		}
	}
	// An export of the vectors recomputes every hash from the entries.
	again := filepath.Join(t.TempDir(), "again")
	if _, err := publish.Export(t.Context(), publish.ExportConfig{From: folder, Dir: again, VerifierKey: goldenKey}); err != nil {
		t.Fatal(err)
	}
	for path, data := range files(t, again) {
		if want, err := os.ReadFile(filepath.Join(goldenDir, path)); err != nil || string(want) != data {
			t.Errorf("%s is not the vector (%v)", path, err)
		}
	}
}

// TestGoldenVectorsAreWritten makes the same ledger anew: what is written today is
// what was written first.
func TestGoldenVectorsAreWritten(t *testing.T) {
	w := newWorld(t, 7, 100)
	got := map[string][]byte{"older/checkpoint": w.checkpoint().Note}
	w.grow(goldenSize-100, "names: *.golden.example")
	dir := t.TempDir()
	_, err := w.export(w, dir)
	w.must(err)
	for path, data := range files(t, dir) {
		got[path] = []byte(data)
	}
	for name, index := range goldenProofs {
		p, err := w.log.Proof(context.WithoutCancel(t.Context()), index)
		w.must(err)
		got[name+proof.Ending], err = p.File()
		w.must(err)
	}
	if w.log.VerifierKey() != goldenKey {
		t.Errorf("the verifier key is %s", w.log.VerifierKey())
	}
	for path, data := range got {
		name := filepath.Join(goldenDir, path)
		want, err := os.ReadFile(name)
		if *update && os.IsNotExist(err) {
			w.must(os.MkdirAll(filepath.Dir(name), 0o750))
			w.must(os.WriteFile(name, data, 0o600))
			continue
		}
		if err != nil || string(want) != string(data) {
			t.Errorf("%s is not what is written now (%v)", path, err)
		}
	}
}

// TestForged flips every bit of a checkpoint and of a proof, and cuts both: what is
// still taken says the same as before.
func TestForged(t *testing.T) {
	for _, name := range []string{"checkpoint", "0000" + proof.Ending} {
		good, err := os.ReadFile(filepath.Join(goldenDir, name))
		if err != nil {
			t.Fatal(err)
		}
		open := func(data []byte) (index uint64, root [32]byte, err error) {
			if name == "checkpoint" {
				cp, err := ledger.ParseCheckpoint(data, goldenKey)
				return cp.Size, cp.Root, err
			}
			p, cp, err := ledger.OpenProof(data, goldenKey)
			return p.Index, cp.Root, err
		}
		index, root, err := open(good)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			for bit := range 8 {
				bad := append([]byte{}, good...)
				bad[i] ^= 1 << bit
				if n, r, err := open(bad); err == nil && (n != index || r != root) {
					t.Fatalf("%s, bit %d of octet %d: says %d, %x", name, bit, i, n, r)
				}
			}
			if _, _, err := open(good[:i]); err == nil {
				t.Fatalf("%s, cut after %d octets: taken", name, i)
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(goldenDir, "0017"+proof.Ending))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"no key":      "",
		"another key": "ca.example/other+b455bb19+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs",
		"no such key": "ca.example/ledger+00000000+AAAA",
	} {
		if _, _, err := ledger.OpenProof(data, key); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
