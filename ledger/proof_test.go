package ledger_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/problem"
)

func TestProof(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	appendEntries(t, s, 600)
	closed()
	s, _ = p.store(t, false)
	l := p.open(t, s)
	appendEntries(t, s, 1) // not under a checkpoint yet
	for _, index := range []uint64{0, 1, 255, 256, 511, 512, 599, 600} {
		proof, err := l.Proof(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		if proof.Size != 601 || proof.Index != index {
			t.Errorf("proof of %d in %d", proof.Index, proof.Size)
		}
		if err := ledger.CheckProof(proof, l.VerifierKey()); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
		if index == 0 {
			checkForgeries(t, proof, l.VerifierKey())
		}
	}
	for _, row := range []struct {
		index, size uint64
		kind        problem.Kind
	}{
		{601, 0, problem.FailedPrecondition}, {602, 0, problem.NotFound}, {1 << 63, 0, problem.NotFound},
		{1, 602, problem.FailedPrecondition}, {1, 603, problem.NotFound}, {5, 5, problem.Malformed},
	} {
		if _, err := l.ProofAt(t.Context(), row.index, row.size); problem.KindOf(err) != row.kind {
			t.Errorf("entry %d in %d: %v, want %s", row.index, row.size, err, row.kind)
		}
	}
}

// TestProofAt: at every size of a small tree the proof's root is the one that
// the ledger had at that size.
func TestProofAt(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	roots := map[uint64][32]byte{}
	for size := uint64(1); size <= 9; size++ {
		head, err := s.Head(t.Context())
		if err != nil || head.Size != size {
			t.Fatalf("%+v, %v", head, err)
		}
		roots[size] = head.Root
		appendEntries(t, s, 1)
	}
	closed()
	s, _ = p.store(t, false)
	l := p.open(t, s)
	for size, root := range roots {
		for index := range size {
			proof, err := l.ProofAt(t.Context(), index, size)
			if err != nil || proof.Root != root || proof.Checkpoint != nil {
				t.Errorf("entry %d in %d: root %x, want %x, %v", index, size, proof.Root, root, err)
			}
		}
	}
}

func checkForgeries(t *testing.T, good ledger.Proof, vkey string) {
	t.Helper()
	for name, forge := range map[string]func(*ledger.Proof){
		"entry":      func(p *ledger.Proof) { p.Entry = append(bytes.Clone(p.Entry), 0) },
		"leaf":       func(p *ledger.Proof) { p.Leaf[0] ^= 1 },
		"index":      func(p *ledger.Proof) { p.Index++ },
		"size":       func(p *ledger.Proof) { p.Size++ },
		"huge size":  func(p *ledger.Proof) { p.Size = 1 << 63 },
		"root":       func(p *ledger.Proof) { p.Root[0] ^= 1 },
		"short path": func(p *ledger.Proof) { p.Path = p.Path[1:] },
		"checkpoint": func(p *ledger.Proof) { p.Checkpoint = bytes.Replace(p.Checkpoint, []byte("601"), []byte("602"), 1) },
		"none":       func(p *ledger.Proof) { p.Checkpoint = nil },
	} {
		forged := good
		forge(&forged)
		if err := ledger.CheckProof(forged, vkey); err == nil {
			t.Errorf("a proof with another %s is taken", name)
		}
	}
	if err := ledger.CheckProof(good, strings.Replace(vkey, origin, "other", 1)); err == nil {
		t.Error("another key's name is taken")
	}
}

// FuzzParseCheckpoint: what parses is what is signed, and has one form.
func FuzzParseCheckpoint(f *testing.F) {
	root := "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
	for _, seed := range []string{
		origin + "\n5\n" + root + "\n\n— " + origin + " AAAAAAAA\n",
		origin + "\n05\n" + root + "\n\n", origin + "\n-1\n" + root + "\n\n", origin + "\n5\n" + root + "\nextension\n\n",
		"\n5\n" + root + "\n\n", origin + "\n9223372036854775807\n" + root + "\n\n", "\n\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cp, err := ledger.ParseCheckpoint(data, "")
		if err != nil {
			return
		}
		if !bytes.Equal(cp.Note, data) || cp.Origin == "" || cp.Size > 1<<61 || strings.Contains(cp.Origin, "\n") {
			t.Fatalf("%+v", cp)
		}
		_, _ = ledger.ParseCheckpoint(data, "ca.example/ledger+00000000+AAAA")
	})
}
