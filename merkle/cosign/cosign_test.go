package cosign_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle/cosign"
)

func pair(t testing.TB, name string) (note.Signer, note.Verifier, string) {
	t.Helper()
	skey, vkey, err := cosign.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosign.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := cosign.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	again, err := cosign.VerifierKey(skey)
	if err != nil || again != vkey {
		t.Fatalf("the verifier key of the private key is %q (%v), not %q", again, err, vkey)
	}
	return signer, verifier, vkey
}

func checkpoint(t testing.TB, size int) []byte {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("log.example\n%d\n%s\n", size, tlog.Hash{1})}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestCosignature(t *testing.T) {
	signer, verifier, vkey := pair(t, "witness.example/w1")
	other, _, _ := pair(t, "witness.example/w1")
	cp := checkpoint(t, 7)
	answer, err := cosign.Answer(cp, signer)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := cosign.ParseAnswer(cp, answer, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if since := time.Since(sig.Time); since < -time.Second || since > time.Hour {
		t.Errorf("the cosignature is of %s", sig.Time)
	}
	if _, err := note.Open(append(bytes.Clone(cp), sig.Line...), note.VerifierList(verifier)); err != nil {
		t.Errorf("the line does not verify behind the checkpoint: %v", err)
	}
	foreign, err := cosign.Answer(cp, other)
	if err != nil {
		t.Fatal(err)
	}
	both := append(bytes.Clone(foreign), answer...)
	if _, err := cosign.ParseAnswer(cp, both, verifier); err != nil {
		t.Errorf("with another key's signature before it: %v", err)
	}
	// A witness signs more than the checkpoint: its line would not hold behind it.
	whole, err := note.Sign(&note.Note{Text: string(cp) + "more\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		checkpoint, answer []byte
		want               string
	}{
		"another checkpoint": {checkpoint(t, 8), answer, "does not hold"},
		"another key":        {cp, foreign, "no signature of the key"},
		"no signature":       {cp, nil, "no signature of the key"},
		"of a longer note":   {cp, whole[len(cp):], "not lines of signatures"},
		"rubbish":            {cp, []byte("hello\n"), "not lines of signatures"},
		"huge":               {cp, bytes.Repeat(answer, 200), "more than"},
	} {
		if _, err := cosign.ParseAnswer(test.checkpoint, test.answer, verifier); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"cut": vkey[:len(vkey)-4], "another hash": strings.Replace(vkey, "+", "+0", 1), "empty": "", "a name": "witness.example",
		"a hash of zeros": vkey[:strings.Index(vkey, "+")] + "+00000000+" + vkey[strings.LastIndex(vkey, "+")+1:],
	} {
		if _, err := cosign.NewVerifier(bad); err == nil {
			t.Errorf("%s: the key %q was taken", name, bad)
		}
	}
	if _, _, err := cosign.GenerateKey("a b"); err == nil {
		t.Error("a name with a space was taken")
	}
}

func TestRequest(t *testing.T) {
	r := cosign.Request{Old: 20852014, Proof: [][32]byte{{1}, {2}}, Checkpoint: checkpoint(t, 3)}
	got, err := cosign.ParseRequest(r.Marshal())
	if err != nil || got.Old != r.Old || len(got.Proof) != 2 || got.Proof[1] != r.Proof[1] || !bytes.Equal(got.Checkpoint, r.Checkpoint) {
		t.Fatalf("%v %v", got, err)
	}
	hash := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for name, bad := range map[string]string{
		"empty": "", "no old": "new 1\n\nx", "leading zero": "old 01\n\nx", "signed": "old +1\n\nx", "two spaces": "old  1\n\nx",
		"no checkpoint": "old 1\n\n", "no empty line": "old 1\nx", "a hash too short": "old 1\nAAAA\n\nx", "64 hashes": "old 1\n" + strings.Repeat(hash, 64) + "\nx",
		"a line end in a hash": "old 1\n" + strings.Replace(hash, "=\n", "=\r", 1) + "\n\nx",
		"too large":            "old 1\n\n" + strings.Repeat("x", cosign.MaxRequest), "beyond": "old 18446744073709551615\n\nx",
	} {
		if _, err := cosign.ParseRequest([]byte(bad)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := cosign.ParseRequest([]byte("old 1\n" + strings.Repeat(hash, 63) + "\nx")); err != nil {
		t.Errorf("63 hashes: %v", err)
	}
	if n, err := cosign.ParseSize([]byte("42\n")); n != 42 || err != nil {
		t.Errorf("size: %d %v", n, err)
	}
	for _, bad := range []string{"42", "042\n", "-1\n", "\n", "42\n\n", "x\n"} {
		if _, err := cosign.ParseSize([]byte(bad)); err == nil {
			t.Errorf("the size %q was taken", bad)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("old 0\n\nlog\n1\nx\n\n— log AAAA\n"))
	f.Add(cosign.Request{Old: 3, Proof: [][32]byte{{9}}, Checkpoint: checkpoint(f, 5)}.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := cosign.ParseRequest(data)
		if err == nil && !bytes.Equal(r.Marshal(), data) {
			t.Fatalf("%q reads as %q", data, r.Marshal())
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	signer, verifier, _ := pair(f, "w.example")
	cp := checkpoint(f, 5)
	answer, err := cosign.Answer(cp, signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	f.Add([]byte("— w.example AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sig, err := cosign.ParseAnswer(cp, data, verifier)
		if err != nil {
			return
		}
		if _, err := note.Open(append(bytes.Clone(cp), sig.Line...), note.VerifierList(verifier)); err != nil {
			t.Fatalf("an answer was taken that does not hold: %q", data)
		}
	})
}
