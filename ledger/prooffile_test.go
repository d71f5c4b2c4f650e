package ledger_test

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger"
)

// TestProofFile: a certificate's proof is a file that holds by itself, for this
// certificate and its issuer and no other.
func TestProofFile(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	ca, otherCA := newAuthority(t), newAuthority(t)
	appendEntries(t, s, 300)
	cert, index := ca.issue(t, s, "a.internal")
	other, _ := ca.issue(t, s, "b.internal")
	closed()
	s, _ = p.store(t, false)
	l := p.open(t, s)
	proof, err := l.Proof(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	file, err := proof.File()
	if err != nil {
		t.Fatal(err)
	}
	got, cp, err := ledger.OpenProof(file, p.vkey(t))
	if err != nil || got.Index != index || cp.Size != proof.Size {
		t.Fatalf("entry %d: %v", got.Index, err)
	}
	if err := ledger.MatchCertificate(got.Entry, cert.Raw, nil); err != nil {
		t.Error(err)
	}
	if err := ledger.MatchCertificate(got.Entry, cert.Raw, ca.cert); err != nil {
		t.Error(err)
	}
	admin, err := l.Proof(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte{}, cert.Raw...)
	forged[len(forged)-1] ^= 1
	for name, row := range map[string]struct {
		err  error
		says string
	}{
		"another certificate": {ledger.MatchCertificate(got.Entry, other.Raw, nil), "another certificate's"},
		"another issuer":      {ledger.MatchCertificate(got.Entry, cert.Raw, otherCA.cert), "another issuer"},
		"another signature":   {ledger.MatchCertificate(got.Entry, forged, ca.cert), "signature does not hold"},
		"no certificate":      {ledger.MatchCertificate(got.Entry, []byte("x"), nil), "cannot be read"},
		"an admin's entry":    {ledger.MatchCertificate(admin.Entry, cert.Raw, nil), "stands for no certificate"},
		"no entry":            {ledger.MatchCertificate(nil, cert.Raw, nil), "entry cannot be read"},
	} {
		if row.err == nil || !strings.Contains(row.err.Error(), row.says) {
			t.Errorf("%s: %v", name, row.err)
		}
	}
	older, err := l.ProofAt(t.Context(), index, index+1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.File(); err == nil {
		t.Error("a proof without a checkpoint is a file")
	}
}
