package ledger_test

import (
	"testing"
)

// BenchmarkProof makes a proof, as it is sent, in a ledger of 100,000 entries.
func BenchmarkProof(b *testing.B) {
	p := newPlace(b)
	s, closed := p.store(b, false)
	p.open(b, s)
	appendEntries(b, s, 100_000)
	closed()
	s, _ = p.store(b, false)
	l := p.open(b, s)
	index := uint64(0)
	for b.Loop() {
		index = (index + 7919) % 100_000
		proof, err := l.Proof(b.Context(), index)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := proof.File(); err != nil {
			b.Fatal(err)
		}
	}
}
