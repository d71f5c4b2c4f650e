package book_test

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/cosign"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
)

// TestEntries shows entries that are in the tree, and that no honest server writes.
func TestEntries(t *testing.T) {
	w := newWorld(t)
	w.issue("a.internal")
	honest := w.raws()
	now := time.Now()
	encode := func(body entry.Body, at time.Time) []byte {
		raw, err := audittest.Entry(body, "local_socket:admin", at)
		check(t, err)
		return raw
	}
	with := func(change func(*entry.Intent), cert func(*x509.Certificate)) []byte {
		i := w.intent(w.sign("b.internal", cert))
		if change != nil {
			change(&i)
		}
		return encode(i, now)
	}
	action := encode(entry.Action{Action: "a"}, now)
	unknown := append([]byte(nil), action...)
	unknown[3] = 99
	for name, test := range map[string]struct {
		raw  []byte
		want []string
	}{
		"fine":               {with(nil, nil), nil},
		"rubbish":            {[]byte("rubbish"), []string{"entry entry 4: "}},
		"trailing":           {append(append([]byte(nil), action...), 0), []string{"entry entry 4: "}},
		"unknown kind":       {unknown, []string{"entry entry 4: entry: kind-99 is not known"}},
		"before":             {encode(entry.Action{Action: "a"}, now.Add(-time.Hour)), []string{"entry entry 4: it is of "}},
		"second genesis":     {encode(entry.Origin{Origin: origin}, now), []string{"epoch entry 4: a genesis of epoch 1, after that of epoch 1"}},
		"another's genesis":  {encode(entry.Origin{Origin: "ca.elsewhere/epoch-2"}, now), []string{"epoch entry 4: the genesis is of"}},
		"an epoch of itself": {encode(entry.Origin{Origin: origin + "/epoch-2", Previous: []byte("x")}, now), []string{"epoch entry 4: epoch 2 names"}},
		"abandons no intent": {encode(entry.Abandoned{Index: 1, Reason: "revoked"}, now), []string{"entry entry 4: it abandons entry 1"}},
		"abandons itself":    {encode(entry.Abandoned{Index: 4, Reason: "revoked"}, now), []string{"entry entry 4: it abandons entry 4"}},
		"abandons":           {encode(entry.Abandoned{Index: 3, Reason: "revoked"}, now), nil},
		"another policy":     {with(func(i *entry.Intent) { i.Policy[0] ^= 1 }, nil), []string{"policy entry 4: "}},
		"no TBS":             {with(func(i *entry.Intent) { i.TBS = []byte{0x30, 0} }, nil), []string{"entry entry 4: "}},
		"profile unknown":    {with(func(i *entry.Intent) { i.Profile = "nope" }, nil), []string{"bounds entry 4 "}},
		"too long":           {with(nil, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(90 * 24 * time.Hour) }), []string{"bounds entry 4 "}},
		"a CA":               {with(nil, func(c *x509.Certificate) { c.IsCA = true }), []string{"bounds entry 4 "}},
		"denied name":        {with(nil, func(c *x509.Certificate) { c.DNSNames[0], c.Subject.CommonName = "ca.internal", "" }), []string{"bounds entry 4 "}},
		"long serial":        {with(nil, func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 130) }), []string{"entry entry 4: "}},
		"policy unreadable":  {encode(entry.Policy{Document: []byte("version: 2")}, now), []string{"policy entry 4: "}},
		"policy":             {encode(entry.Policy{Document: policy.Default()}, now), nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree := t.TempDir()
			w.show(tree, append(honest[:len(honest):len(honest)], test.raw))
			dir := t.TempDir()
			a := w.auditor(dir, nil, book.Folder(tree))
			want(t, w.step(a), test.want...)
			if a.Checkpoint().Size != 5 {
				t.Errorf("%d entries were accepted, of 5", a.Checkpoint().Size)
			}
			want(t, w.step(a)) // once is enough: it stands in findings.jsonl
			check(t, a.Close())
			check(t, w.auditor(dir, nil, book.Folder(tree)).Close())
		})
	}
}

// TestShown holds certificates against the book.
func TestShown(t *testing.T) {
	w := newWorld(t)
	logged := w.issue("a.internal")
	tree, dir := t.TempDir(), t.TempDir()
	w.publish(tree)
	a := w.auditor(t.TempDir(), nil, book.Folder(tree))
	want(t, w.step(a))

	unlogged := w.sign("b.internal", nil)
	changed := w.sign("c.internal", func(c *x509.Certificate) { c.SerialNumber = logged.SerialNumber })
	subordinate := w.sign("d.internal", func(c *x509.Certificate) { c.IsCA, c.SerialNumber = true, big.NewInt(2) })
	stranger := newWorld(t)
	foreign := stranger.sign("e.internal", nil)
	encode := func(cert *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	key, err := x509.MarshalPKCS8PrivateKey(w.caKey)
	check(t, err)
	for name, data := range map[string][]byte{
		"1.pem": append(encode(logged), encode(w.ca)...), "2.der": logged.Raw, "sub/3.pem": append(encode(unlogged), encode(unlogged)...),
		"4.pem": encode(changed), "5.pem": encode(subordinate), "6.pem": encode(foreign), "7.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"8.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: logged.Raw[:100]}), "9.txt": []byte("notes"), "a.huge": make([]byte, 1<<20+1),
		"b.crt": []byte("\x00\x01random"), "c.CRT": nil, "d.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), "e.txt": encode(logged)[:200],
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	for name, to := range map[string]string{"l.crt": "nowhere", "m.txt": "nowhere", "n": "sub/3.pem"} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	a.found = nil
	keep := func(f book.Finding) { a.found = append(a.found, f) }
	shown, err := book.ReadShown(t.Context(), dir, keep)
	check(t, err)
	var unread []string
	for _, name := range []string{"8.pem", "a.huge", "b.crt", "c.CRT", "e.txt", "l.crt"} {
		unread = append(unread, "unreadable "+filepath.Join(dir, name)+": ")
	}
	want(t, lines(a.found), unread...)
	for _, name := range []string{"7.key", "9.txt", "b.crt", "c.CRT"} { // what is named must have one
		a.found = nil
		if _, err := book.ReadShown(t.Context(), filepath.Join(dir, name), keep); err != nil || len(a.found) != 1 || a.found[0].Kind != book.KindUnread {
			t.Errorf("%s alone: %v %v", name, a.found, err)
		}
	}
	a.found = nil
	check(t, a.Lookup(shown))
	want(t, lines(a.found), "other-tbs entry 3 "+dir+"/4.pem", "unlogged "+dir+"/5.pem", "unlogged "+dir+"/6.pem", "unlogged "+dir+"/n")

	ours, others := book.Ours(shown, []*x509.Certificate{w.ca})
	if others != 1 || len(ours) != len(shown)-1 {
		t.Errorf("%d are the CA's own, %d are others'", len(ours), others)
	}
	// The foreign CA has the same name: the name alone is no evidence.
	if string(foreign.RawIssuer) != string(w.ca.RawSubject) {
		t.Error("the foreign certificate does not name the CA")
	}
}

// TestWitnessed asks for cosignatures.
func TestWitnessed(t *testing.T) {
	w := newWorld(t)
	tree := t.TempDir()
	w.publish(tree)
	signer, verifier := witnessKey(t)
	_, other := witnessKey(t)
	need := func(n int) func(*book.Config) {
		return func(c *book.Config) { c.Witnesses, c.Need = []note.Verifier{verifier, other}, n }
	}
	want(t, w.step(w.auditor(t.TempDir(), need(1), book.Folder(tree))), "witness ")
	path := filepath.Join(tree, "checkpoint")
	signed, err := os.ReadFile(path)
	check(t, err)
	line, err := cosign.Answer(signed, signer)
	check(t, err)
	check(t, os.WriteFile(path, append(signed, line...), 0o600))
	want(t, w.step(w.auditor(t.TempDir(), need(1), book.Folder(tree))))
	want(t, w.step(w.auditor(t.TempDir(), need(2), book.Folder(tree))), "witness ")
}

func witnessKey(t *testing.T) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := cosign.GenerateKey("witness.example")
	check(t, err)
	if _, err := book.ParseKey(vkey); err == nil {
		t.Error("a witness's key is taken for a log's")
	}
	signer, err := cosign.NewSigner(skey)
	check(t, err)
	verifier, err := cosign.NewVerifier(vkey)
	check(t, err)
	return signer, verifier
}

// TestCompare asks two servers.
func TestCompare(t *testing.T) {
	w := newWorld(t)
	w.actions(600)
	here, there := t.TempDir(), t.TempDir()
	all := w.publish(here)
	other := audittest.Replace(all, 300, all[301])
	for name, test := range map[string]struct {
		entries [][]byte
		want    []string
	}{
		"the same":           {all, nil},
		"behind":             {all[:290], nil},
		"empty":              {nil, nil},
		"another root":       {other, []string{"split ", "split entry 300 "}},
		"another, and more":  {append(other[:len(other):len(other)], all[5]), []string{"split ", "split entry 300 "}},
		"another, and fewer": {other[:400], []string{"split ", "split entry 300 "}},
	} {
		w.show(there, test.entries)
		for _, sources := range [][]book.Source{{book.Folder(here), book.Folder(there)}, {book.Folder(there), book.Folder(here), book.Folder(here)}} {
			var found []book.Finding
			_, err := book.Compare(t.Context(), sources, []book.Key{w.vkey}, func(f book.Finding) { found = append(found, f) })
			check(t, err)
			expect := test.want
			if len(sources) == 3 {
				expect = append(expect[:len(expect):len(expect)], expect...)
			}
			if got := lines(found); len(got) != len(expect) {
				t.Errorf("%s:", name)
				want(t, got, expect...)
			}
		}
	}
	newWorld(t).publish(there)
	var found []book.Finding
	_, err := book.Compare(t.Context(), []book.Source{book.Folder(here), book.Folder(there)}, []book.Key{w.vkey}, func(f book.Finding) { found = append(found, f) })
	check(t, err)
	want(t, lines(found), "forged "+there)
}
