package ocsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage/storagetest"
)

func TestStatesByTheLedger(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	want := map[string]int{
		"good": xocsp.Good, "revoked": xocsp.Revoked, "unspecified": xocsp.Revoked, "reserved": xocsp.Unknown,
		"reserved-revoked": xocsp.Revoked, "abandoned": xocsp.Unknown, "abandoned-revoked": xocsp.Revoked,
	}
	for name, status := range want {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			leaf := tn.leaves[name]
			serial := serialOf(leaf).Big()
			der := tn.postForTest(tn.question(t, serial, hash)).Body.Bytes()
			res, err := xocsp.ParseResponseForCert(der, &x509.Certificate{SerialNumber: serial}, tn.issuer.cert)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if res.Status != status || res.IssuerHash != hash {
				t.Errorf("%s by %s: status %d by %s, not %d", name, hash, res.Status, res.IssuerHash, status)
			}
			if status == xocsp.Unknown {
				if !res.NextUpdate.IsZero() || len(res.Extensions) != 0 {
					t.Errorf("%s: an unknown with nextUpdate %s and %d extensions", name, res.NextUpdate, len(res.Extensions))
				}
				continue
			}
			if got := res.NextUpdate.Sub(res.ThisUpdate); got != 24*time.Hour {
				t.Errorf("%s: it lasts %s", name, got)
			}
			if age := time.Since(res.ThisUpdate); age < 0 || age > time.Minute || !res.ProducedAt.Equal(res.ThisUpdate) {
				t.Errorf("%s: thisUpdate %s, producedAt %s", name, res.ThisUpdate, res.ProducedAt)
			}
			checkCutoff(t, res, tn.issuer.cert.NotBefore)
			checkRevocation(t, tn, name, res)
		}
	}
}

func checkRevocation(t *testing.T, tn *town, name string, res *xocsp.Response) {
	t.Helper()
	if res.Status != xocsp.Revoked {
		return
	}
	cert, err := tn.store.BySerial(t.Context(), tn.issuer.ID, serialOf(tn.leaves[name]))
	if err != nil {
		t.Fatal(err)
	}
	if res.RevocationReason != int(cert.Revocation.Reason) || !res.RevokedAt.Equal(cert.Revocation.At.Truncate(time.Second)) {
		t.Errorf("%s: reason %d at %s, not %v", name, res.RevocationReason, res.RevokedAt, cert.Revocation)
	}
}

func checkCutoff(t *testing.T, res *xocsp.Response, want time.Time) {
	t.Helper()
	var got time.Time
	if len(res.Extensions) == 1 && res.Extensions[0].Id.String() == "1.3.6.1.5.5.7.48.1.6" {
		if _, err := asn1.UnmarshalWithParams(res.Extensions[0].Value, &got, "generalized"); err != nil {
			t.Error(err)
		}
	}
	if !got.Equal(want) {
		t.Errorf("archive cutoff %s, not %s", got, want)
	}
}

func TestUnknownSerials(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	shifted := new(big.Int).Lsh(serialOf(tn.leaves["good"]).Big(), 8)
	for _, n := range []*big.Int{
		big.NewInt(0), big.NewInt(-1), big.NewInt(1), shifted, new(big.Int).Lsh(big.NewInt(1), 127),
		new(big.Int).Lsh(big.NewInt(1), 1000), new(big.Int).Neg(serialOf(tn.leaves["good"]).Big()), identity.NewSerial(time.Now()).Big(),
	} {
		if res := tn.ask(t, n); res.Status != xocsp.Unknown || res.SerialNumber.Cmp(n) != 0 {
			t.Errorf("serial %x: status %d for serial %x", n, res.Status, res.SerialNumber)
		}
	}
	if entries, octets, _ := tn.cache.size(); entries != 0 || octets != 0 {
		t.Errorf("unknown is kept: %d answers, %d octets", entries, octets)
	}
}

func TestForeignIssuers(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	serial := serialOf(tn.leaves["good"]).Big()
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		right, err := xocsp.ParseRequest(tn.question(t, serial, hash))
		if err != nil {
			t.Fatal(err)
		}
		for name, spoil := range map[string]func(r *xocsp.Request){
			"name hash":   func(r *xocsp.Request) { r.IssuerNameHash = flip(r.IssuerNameHash) },
			"key hash":    func(r *xocsp.Request) { r.IssuerKeyHash = flip(r.IssuerKeyHash) },
			"short name":  func(r *xocsp.Request) { r.IssuerNameHash = r.IssuerNameHash[1:] },
			"long key":    func(r *xocsp.Request) { r.IssuerKeyHash = append(bytes.Clone(r.IssuerKeyHash), 0) },
			"empty":       func(r *xocsp.Request) { r.IssuerNameHash, r.IssuerKeyHash = nil, nil },
			"no spoiling": func(*xocsp.Request) {},
		} {
			q := *right
			spoil(&q)
			der, err := q.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			served := name == "no spoiling" && (hash == crypto.SHA1 || hash == crypto.SHA256)
			got := tn.postForTest(der).Body.Bytes()
			if refused := bytes.Equal(got, xocsp.UnauthorizedErrorResponse); refused == served {
				t.Errorf("%s, %s: %x", hash, name, got)
			}
		}
	}
}

func flip(b []byte) []byte {
	out := bytes.Clone(b)
	out[len(out)/2] ^= 1
	return out
}

func TestOneRequestForTwoIssuersOfOurs(t *testing.T) {
	other := newAuthority(t, "ecdsa-p256", "Other Issuing CA")
	tn := found(t, "ecdsa-p256", func(c *Config) {
		c.Issuers = append(c.Issuers, IssuerConfig{Name: "other", Certificate: other.cert, Signer: other.key})
	}).populate(t)
	id := func(is *issuer) []byte {
		return is.certID(sha1Null, serialOf(tn.leaves["good"]))
	}
	both := build(t, message{ids: [][]byte{id(tn.issuers[0]), id(tn.issuers[1])}})
	if got := tn.postForTest(both).Body.Bytes(); !bytes.Equal(got, xocsp.UnauthorizedErrorResponse) {
		t.Errorf("two issuers: %x", got)
	}
	// The serial is not the other issuer's.
	res, err := xocsp.ParseResponse(tn.postForTest(build(t, message{ids: [][]byte{id(tn.issuers[1])}})).Body.Bytes(), other.cert)
	if err != nil || res.Status != xocsp.Unknown {
		t.Errorf("the serial of one issuer at another: %v, %v", res, err)
	}
}

func TestSeveralCertIDsAndNonce(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	names := []string{"good", "revoked", "reserved", "good"}
	var ids [][]byte
	for i, name := range names {
		raw := tn.issuers[0].certID(variant(i), serialOf(tn.leaves[name]))
		ids = append(ids, raw)
	}
	foreign := flipName(t, ids[0])
	nonce := bytes.Repeat([]byte{0xa5}, 128)
	der := tn.postForTest(build(t, message{ids: append(ids, foreign), nonce: nonce})).Body.Bytes()
	basic := readBasic(t, der)
	for i, want := range []status{good, revoked, unknown, good, unknown} {
		if got := basic.Data.Responses[i]; !bytes.Equal(got.ID.FullBytes, append(ids, foreign)[i]) || got.Status.Tag != int(want) {
			t.Errorf("answer %d: status %d, not %d; id %x", i, got.Status.Tag, want, got.ID.FullBytes)
		}
	}
	if n := basic.Data.Extensions; len(n) != 1 || n[0].Critical || !bytes.Equal(n[0].Value, append([]byte{4, 0x81, 128}, nonce...)) {
		t.Errorf("nonce %v", n)
	}
	for range 3 { // a nonce bypasses the cache
		tn.postForTest(build(t, message{ids: ids[:1], nonce: []byte{1}}))
	}
	if s := tn.Stats(); s.CacheEntries != 0 || s.CacheHits != 0 || s.ResponderSignatures != 4 {
		t.Errorf("with nonces: %+v", s)
	}
}

func flipName(t *testing.T, id []byte) []byte {
	t.Helper()
	out := bytes.Clone(id)
	out[20] ^= 1
	return out
}

func TestIssuersOfAllKeys(t *testing.T) {
	for _, algorithm := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"} {
		for _, way := range []string{"delegated", "own", "stand-in"} {
			t.Run(algorithm+" "+way, func(t *testing.T) {
				tn := foundBy(t, algorithm, way).populate(t)
				serial := serialOf(tn.leaves["good"]).Big()
				der := tn.postForTest(tn.question(t, serial, crypto.SHA256)).Body.Bytes()
				basic := readBasic(t, der)
				if delegated := way == "delegated"; delegated != (len(basic.Certificates) == 1) {
					t.Errorf("%d certificates", len(basic.Certificates))
				}
				if basic.Data.Responses[0].Status.Tag != int(good) {
					t.Errorf("status %d", basic.Data.Responses[0].Status.Tag)
				}
				if s := tn.Stats(); (way == "delegated") != (s.ResponderSignatures == 1) || s.ResponderSignatures+s.IssuerSignatures != 1 {
					t.Errorf("signatures %d, %d", s.ResponderSignatures, s.IssuerSignatures)
				}
				if algorithm == "ed25519" && way != "delegated" {
					return // x/crypto/ocsp does not know it; openssl's test does
				}
				if _, err := xocsp.ParseResponse(der, tn.issuer.cert); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestChangedForgetsAtOnce(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	leaf := tn.issueLeaf(t)
	serial := serialOf(leaf)
	for range 3 {
		if res := tn.ask(t, serial.Big()); res.Status != xocsp.Good {
			t.Fatalf("status %d", res.Status)
		}
	}
	if s := tn.Stats(); s.CacheHits != 2 || s.ResponderSignatures != 1 || s.CacheEntries != 1 || s.Good != 3 {
		t.Errorf("kept: %+v", s)
	}
	commit(t, tn.store, leaf.Revoke(t, identity.Superseded))
	tn.Changed(tn.issuer.ID, serial)
	if res := tn.ask(t, serial.Big()); res.Status != xocsp.Revoked || res.RevocationReason != xocsp.Superseded {
		t.Errorf("after Changed: status %d, reason %d", res.Status, res.RevocationReason)
	}
	tn.Changed(identity.KeyID{}, serial) // no issuer of ours
	tn.Reset()
	if s := tn.Stats(); s.CacheEntries != 0 || s.CacheBytes != 0 {
		t.Errorf("after Reset: %+v", s)
	}
}

// TestRevokedWhileSigning revokes between the read of a state and its signature.
func TestRevokedWhileSigning(t *testing.T) {
	o := &outage{came: make(chan struct{}, 1)}
	tn := found(t, "ecdsa-p256", func(c *Config) { o.Store, c.Store = c.Store, o })
	leaf := tn.issueLeaf(t)
	serial := serialOf(leaf)
	gate := make(chan struct{})
	o.gate.Store(&gate)
	question := tn.question(t, serial.Big(), crypto.SHA1)
	done := make(chan []byte)
	go func() { done <- tn.postForTest(question).Body.Bytes() }()
	<-o.came // it has read good
	commit(t, tn.store, leaf.Revoke(t, identity.KeyCompromise))
	tn.Changed(tn.issuer.ID, serial)
	o.gate.Store(nil)
	if res := tn.ask(t, serial.Big()); res.Status != xocsp.Revoked { // not that flight's answer
		t.Errorf("asked after the revocation: status %d", res.Status)
	}
	close(gate)
	res, err := xocsp.ParseResponse(<-done, tn.issuer.cert)
	if err != nil || res.Status != xocsp.Revoked {
		t.Errorf("asked before the revocation, answered after it: %v, %v", res, err)
	}
	if res := tn.ask(t, serial.Big()); res.Status != xocsp.Revoked {
		t.Errorf("kept after the revocation: status %d", res.Status)
	}
}

func TestStoreFails(t *testing.T) {
	o := &outage{}
	tn := found(t, "ecdsa-p256", func(c *Config) { o.Store, c.Store = c.Store, o }).populate(t)
	err := errors.New("disk")
	o.err.Store(&err)
	serial := serialOf(tn.leaves["good"])
	w := tn.postForTest(tn.question(t, serial.Big(), crypto.SHA1))
	if !bytes.Equal(w.Body.Bytes(), xocsp.InternalErrorErrorResponse) || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%x, %v", w.Body.Bytes(), w.Header())
	}
	o.err.Store(nil)
	if res := tn.ask(t, serial.Big()); res.Status != xocsp.Good {
		t.Errorf("after it: status %d", res.Status)
	}
}

func TestSaturated(t *testing.T) {
	o := &outage{came: make(chan struct{}, 4)}
	tn := found(t, "ecdsa-p256", func(c *Config) { o.Store, c.Store, c.Signers, c.Queue = c.Store, o, 1, 1 })
	kept, slow, queued := tn.issueLeaf(t), tn.issueLeaf(t), tn.issueLeaf(t)
	tn.ask(t, serialOf(kept).Big())
	gate := make(chan struct{})
	o.gate.Store(&gate)
	done := make(chan int, 2)
	for _, leaf := range []storagetest.Issuance{slow, queued} {
		go func() { done <- tn.ask(t, serialOf(leaf).Big()).Status }()
	}
	<-o.came
	for tn.slots.inLine() == 0 { // until the second waits
		runtime.Gosched()
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
	w := tn.postForTest(tn.question(t, big.NewInt(7), crypto.SHA1))
	if !bytes.Equal(w.Body.Bytes(), xocsp.TryLaterErrorResponse) {
		t.Errorf("a full queue: %x", w.Body.Bytes())
	}
	if res := tn.ask(t, serialOf(kept).Big()); res.Status != xocsp.Good {
		t.Errorf("from the cache: %d", res.Status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tn.slots.take(ctx, "a"); !errors.Is(err, errBusy) {
		t.Errorf("a slot for one who is gone: %v", err)
	}
	o.gate.Store(nil)
	close(gate)
	for range 2 {
		if s := <-done; s != xocsp.Good {
			t.Errorf("who waited: %d", s)
		}
	}
}

// TestFlood: one address fills the queue of what is to be signed, with ports and
// questions of its own for each; another is answered nonetheless.
func TestFlood(t *testing.T) {
	const queue = 8
	o := &outage{came: make(chan struct{}, 4*queue)}
	tn := found(t, "ecdsa-p256", func(c *Config) { o.Store, c.Store, c.Signers, c.Queue = c.Store, o, 1, queue })
	shared, alone := tn.issueLeaf(t), tn.issueLeaf(t)
	gate := make(chan struct{})
	o.gate.Store(&gate)
	flood := make(chan []byte, 2*queue)
	ask := func(remote string, serial *big.Int, into chan<- []byte) {
		der := tn.question(t, serial, crypto.SHA1)
		go func() { into <- tn.postFrom(remote, der).Body.Bytes() }()
	}
	waits := func(n int) {
		for tn.slots.inLine() != n && t.Context().Err() == nil {
			runtime.Gosched()
		}
	}
	ask("192.0.2.1:1", big.NewInt(99), flood)
	<-o.came
	for i := range queue - 1 {
		ask(fmt.Sprintf("192.0.2.1:%d", 2+i), big.NewInt(int64(100+i)), flood)
		waits(i + 1)
	}
	ask("192.0.2.1:90", serialOf(shared).Big(), flood) // the last in the line: the first to be sent away
	waits(queue)
	others := make(chan []byte, 2)
	ask("198.51.100.1:1", serialOf(shared).Big(), others) // joins the flood's own question
	for tn.Stats().CacheMisses != queue+2 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	ask("198.51.100.2:1", serialOf(alone).Big(), others) // takes that one's place
	if first := <-flood; !bytes.Equal(first, xocsp.TryLaterErrorResponse) {
		t.Errorf("sent away: %x", first)
	}
	waits(queue)
	o.gate.Store(nil)
	close(gate)
	for range 2 {
		if res, err := xocsp.ParseResponse(<-others, tn.issuer.cert); err != nil || res.Status != xocsp.Good {
			t.Errorf("another address: %+v, %v", res, err)
		}
	}
}

func TestStaple(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	der, again, err := tn.Staple(t.Context(), tn.issuer.ID, serialOf(tn.leaves["good"]))
	if err != nil {
		t.Fatal(err)
	}
	res, err := xocsp.ParseResponse(der, tn.issuer.cert)
	if err != nil || res.Status != xocsp.Good || again.Before(time.Now().Add(11*time.Hour)) {
		t.Errorf("staple: %v, %v, again at %s", res, err, again)
	}
	if _, _, err := tn.Staple(t.Context(), tn.issuer.ID, identity.NewSerial(time.Now())); err == nil {
		t.Error("a staple for an unknown serial")
	}
	if _, _, err := tn.Staple(t.Context(), identity.KeyID{}, identity.Serial{}); err == nil {
		t.Error("a staple of an unknown issuer")
	}
}
