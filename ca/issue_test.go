package ca

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

func TestIssue(t *testing.T) {
	w := newWorld(t, nil)
	req := request(t, "r1")
	req.Labels = map[string]string{"purpose": "web", "a": "b"}
	got, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(got.Certificate.DER)
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.CheckSignatureFrom(w.cert); err != nil {
		t.Error(err)
	}
	if len(got.Chain) != 1 || got.Issuer != "issuing" || got.Repeated {
		t.Errorf("%d in the chain, issuer %s, repeated %v", len(got.Chain), got.Issuer, got.Repeated)
	}
	crl := fmt.Sprintf("http://ca.test:8080/crl/issuing/%d.crl", got.Certificate.CRLShard)
	if !slices.Equal(leaf.CRLDistributionPoints, []string{crl}) || got.Certificate.CRLShard >= 16 {
		t.Errorf("CRL %v", leaf.CRLDistributionPoints)
	}
	row, err := w.store.BySerial(t.Context(), got.Certificate.Issuer, got.Certificate.Serial)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", row) != fmt.Sprintf("%+v", got.Certificate) {
		t.Errorf("returned and stored differ:\n%+v\n%+v", got.Certificate, row)
	}
	var labels []string
	for _, c := range row.Intent.Labels {
		value, _, err := w.store.Erasable(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		labels = append(labels, string(value))
	}
	if !slices.Equal(labels, []string{"a=b", "purpose=web"}) {
		t.Errorf("labels %q", labels)
	}
	if s := w.Stats(); s.Issued != 1 || s.Signatures["issuing"] != 1 {
		t.Errorf("%+v", s)
	}
}

// TestSignedAfterLogged: when the key is used, the intent with these very bytes
// is in the store. The negative control fails it.
func TestSignedAfterLogged(t *testing.T) {
	w := newWorld(t, nil)
	w.signer.before = func() error {
		if len(w.unresolved(t)) != 1 {
			return errors.New("the key was used before the intent was in the ledger")
		}
		return nil
	}
	got, err := w.Issue(t.Context(), request(t, ""), Attach{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(got.Certificate.DER)
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(leaf.RawTBSCertificate) != sha256.Sum256(got.Certificate.Intent.TBS) {
		t.Error("the signed TBS is not the logged one")
	}
}

func TestIdempotent(t *testing.T) {
	w := newWorld(t, nil)
	req := request(t, "same")
	first, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	size := w.size(t)
	again, err := w.Issue(t.Context(), req, Attach{})
	if err != nil || !again.Repeated || !sameDER(first, again) || len(again.Chain) != 1 {
		t.Errorf("%v, repeated %v", err, again.Repeated)
	}
	other := request(t, "same")
	_, err = w.Issue(t.Context(), other, Attach{})
	p := problemOf(t, err, problem.Conflict, "REQUEST_ID_REUSED")
	if len(p.Violations) != 0 || p.Value != "" {
		t.Errorf("the conflict shows something: %+v", p)
	}
	if w.size(t) != size {
		t.Error("a repetition left entries")
	}
}

// TestParallelSameRequest: of 64 at once, one is issued and all get it.
func TestParallelSameRequest(t *testing.T) {
	w := newWorld(t, nil)
	size := w.size(t)
	req := request(t, "same")
	var wg sync.WaitGroup
	results, errs := make([]Issued, 64), make([]error, 64)
	for i := range results {
		wg.Go(func() { results[i], errs[i] = w.Issue(t.Context(), req, Attach{}) })
	}
	wg.Wait()
	fresh := 0
	for i := range results {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if !sameDER(results[0], results[i]) {
			t.Error("two certificates for one request")
		}
		if !results[i].Repeated {
			fresh++
		}
	}
	if fresh != 1 || w.signer.count != 1 || w.size(t) != size+1 {
		t.Errorf("%d issued, %d signatures, %d entries", fresh, w.signer.count, w.size(t)-size)
	}
}

func TestParallel(t *testing.T) {
	w := newWorld(t, nil)
	req := request(t, "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	serials := map[identity.Serial]bool{}
	for range 64 {
		wg.Go(func() {
			for range 4 {
				got, err := w.Issue(t.Context(), req, Attach{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				serials[got.Certificate.Serial] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(serials) != 256 || len(w.unresolved(t)) != 0 {
		t.Errorf("%d serials, %d unresolved", len(serials), len(w.unresolved(t)))
	}
}

// TestDeniedWithAll: every broken rule reaches the caller, Preview says the
// same, and nothing is in the ledger.
func TestDeniedWithAll(t *testing.T) {
	w := newWorld(t, nil)
	size := w.size(t)
	req := request(t, "")
	req.Identifiers = []identity.Identifier{{Type: identity.DNS, Value: "evil.example.com"}, {Type: identity.IP, Value: "192.0.2.1"}}
	req.Validity = 1000 * time.Hour
	_, err := w.Issue(t.Context(), req, Attach{})
	p := problemOf(t, err, problem.Denied, "")
	if len(p.Violations) < 3 {
		t.Errorf("%v", p.Violations)
	}
	_, previewed := w.Preview(t.Context(), req)
	if previewed == nil || previewed.Error() != err.Error() {
		t.Errorf("Preview says %v", previewed)
	}
	if _, err := w.Preview(t.Context(), request(t, "")); err != nil {
		t.Error(err)
	}
	if w.size(t) != size || w.signer.count != 0 {
		t.Error("a refusal or a preview left something")
	}
	if s := w.Stats(); len(slices.Collect(maps.Keys(s.Refused))) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestRefusedForm(t *testing.T) {
	w := newWorld(t, nil)
	tests := map[string]func(*identity.Request){
		"KIND":       func(r *identity.Request) { r.Kind = "ssh" },
		"NO_NAMES":   func(r *identity.Request) { r.Identifiers = nil },
		"REQUEST_ID": func(r *identity.Request) { r.ID = string(make([]byte, 256)) },
		"LABELS":     func(r *identity.Request) { r.Labels = map[string]string{"": "x"} },
		"KEY_TYPE":   func(r *identity.Request) { r.PublicKey = nil },
		"NAME_FORM":  func(r *identity.Request) { r.Identifiers[0].Value = "a_b.internal" },
	}
	for reason, change := range tests {
		req := request(t, "")
		change(&req)
		_, err := w.Issue(t.Context(), req, Attach{})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Reason != reason {
			t.Errorf("%v, want %s", err, reason)
		}
	}
}

// TestAttach: the commands stand or fall with the issuance; a token's use is
// given back when the key fails.
func TestAttach(t *testing.T) {
	w := newWorld(t, nil)
	token := func(n byte) Attach {
		use := storage.UseToken{ID: "t1", For: [32]byte{n}, Max: 1}
		return Attach{Reserve: []storage.Command{use}, Abandon: []storage.Command{storage.ReleaseToken{ID: use.ID, For: use.For}}}
	}
	w.signer.before = func() error { return errors.New("the token was pulled") }
	_, err := w.Issue(t.Context(), request(t, "a"), token(1))
	wantProblem(t, err, problem.Unavailable, "SIGNING_FAILED")
	if uses, err := w.store.TokenUses(t.Context(), "t1"); err != nil || uses != 0 {
		t.Errorf("%d uses, %v", uses, err)
	}
	if len(w.unresolved(t)) != 0 || w.Stats().Abandoned != 1 {
		t.Error("the intent was not abandoned")
	}
	w.signer.before = nil
	if _, err := w.Issue(t.Context(), request(t, "a"), token(2)); err != nil { // the ID is free again
		t.Fatal(err)
	}
	size := w.size(t)
	_, err = w.Issue(t.Context(), request(t, "b"), token(3))
	wantProblem(t, err, problem.PermissionDenied, "TOKEN_SPENT")
	if w.size(t) != size {
		t.Error("a spent token left an entry")
	}
}

// TestRevokedBeforeComplete: a serial can be revoked from its reservation on,
// and is then never issued.
func TestRevokedBeforeComplete(t *testing.T) {
	w := newWorld(t, nil)
	w.signer.before = func() error {
		row := w.unresolved(t)[0]
		return w.Revoke(t.Context(), Revocation{Issuer: row.Issuer, Serial: row.Serial, Reason: identity.Superseded, Actor: "local_socket:admin"})
	}
	_, err := w.Issue(t.Context(), request(t, "a"), Attach{})
	wantProblem(t, err, problem.Conflict, "")
	if len(w.unresolved(t)) != 0 {
		t.Error("the intent is unresolved")
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, nil)
	got, err := w.Issue(t.Context(), request(t, ""), Attach{})
	if err != nil {
		t.Fatal(err)
	}
	r := Revocation{Issuer: got.Certificate.Issuer, Serial: got.Certificate.Serial, Reason: identity.KeyCompromise, Actor: "local_socket:admin"}
	if err := w.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, w.Revoke(t.Context(), r), problem.Conflict, "ALREADY_REVOKED")
	bad := r
	bad.Reason = 7
	wantProblem(t, w.Revoke(t.Context(), bad), problem.Malformed, "REVOCATION_REASON")
	r.Serial[15]++
	wantProblem(t, w.Revoke(t.Context(), r), problem.NotFound, "")
}

// TestCrash: at each point, what is left is settled by the next incarnation, and
// the request ID is free or answered.
func TestCrash(t *testing.T) {
	died := errors.New("died")
	for _, point := range []Point{PointChecked, PointReserved, PointSigned, PointCompleted} {
		t.Run(string(point), func(t *testing.T) {
			released := 0
			w := newWorld(t, func(c *Config) {
				c.Fault = func(p Point) error {
					if p == point {
						return died
					}
					return nil
				}
			})
			req := request(t, "r")
			if _, err := w.Issue(t.Context(), req, Attach{}); !errors.Is(err, died) {
				t.Fatal(err)
			}
			left := w.unresolved(t)
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			w.open(t, func(c *Config) {
				c.Abandoned = func(storage.Certificate) []storage.Command { released++; return nil }
			})
			n, err := w.Settle(t.Context())
			if err != nil || n != len(left) || released != n || len(w.unresolved(t)) != 0 {
				t.Errorf("settled %d of %d, released %d, %v", n, len(left), released, err)
			}
			for _, row := range left {
				now, err := w.store.BySerial(t.Context(), row.Issuer, row.Serial)
				if err != nil || now.State != storage.Abandoned || now.Revocation == nil {
					t.Errorf("%+v, %v", now, err)
				}
			}
			got, err := w.Issue(t.Context(), req, Attach{})
			if err != nil || got.Repeated != (point == PointCompleted) {
				t.Errorf("the same request after the crash: repeated %v, %v", got.Repeated, err)
			}
		})
	}
}

// TestSettleSparesThePeer: neither another server's intents nor those of this
// run are settled; overdue ones are, whosever they are.
func TestSettleSparesThePeer(t *testing.T) {
	stop := func(c *Config) {
		c.Fault = func(p Point) error {
			if p == PointReserved {
				return errors.New("died")
			}
			return nil
		}
	}
	w := newWorld(t, stop)
	_, _ = w.Issue(t.Context(), request(t, ""), Attach{})
	if n, err := w.Settle(t.Context()); n != 0 || err != nil {
		t.Errorf("settled %d of its own run, %v", n, err)
	}
	w.server = [8]byte{2}
	w.reopen(t)
	if n, err := w.Settle(t.Context()); n != 0 || err != nil {
		t.Errorf("settled %d of a peer, %v", n, err)
	}
	overdue := w.unresolved(t)[0].Deadline.Add(w.deadline)
	for _, late := range []time.Duration{0, time.Millisecond} {
		w.now = func() time.Time { return overdue.Add(late) }
		n, err := w.sweep(t.Context(), entry.ReasonDeadlinePassed, w.overdue)
		if err != nil || n != int(late.Milliseconds()) {
			t.Errorf("%s late: %d swept, %v", late, n, err)
		}
	}
}

// TestCanceled: a caller who leaves after the reservation leaves nothing
// unresolved; one who is gone before leaves nothing at all.
func TestCanceled(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	w.signer.before = func() error { cancel(); return nil }
	if _, err := w.Issue(ctx, request(t, "a"), Attach{}); err != nil {
		t.Error(err)
	}
	size := w.size(t)
	_, err := w.Issue(ctx, request(t, "b"), Attach{})
	wantProblem(t, err, problem.Unavailable, "")
	if len(w.unresolved(t)) != 0 || w.size(t) != size {
		t.Error("something is left")
	}
}

func BenchmarkIssue(b *testing.B) {
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprint(parallel), func(b *testing.B) {
			w := newWorld(b, nil)
			req := request(b, "")
			b.SetParallelism(max(parallel/2, 1))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.Issue(b.Context(), req, Attach{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// TestHeld: while signing is held nothing new is issued, what was issued before
// is still returned.
func TestHeld(t *testing.T) {
	held := false
	w := newWorld(t, func(c *Config) {
		c.Hold = func() error {
			if held {
				return &problem.Problem{Kind: problem.FailedPrecondition, Reason: "SIGNING_HELD"}
			}
			return nil
		}
	})
	req := request(t, "before")
	if _, err := w.Issue(t.Context(), req, Attach{}); err != nil {
		t.Fatal(err)
	}
	held = true
	_, err := w.Issue(t.Context(), request(t, "after"), Attach{})
	wantProblem(t, err, problem.FailedPrecondition, "SIGNING_HELD")
	if again, err := w.Issue(t.Context(), req, Attach{}); err != nil || !again.Repeated {
		t.Errorf("a repetition: %v", err)
	}
}
