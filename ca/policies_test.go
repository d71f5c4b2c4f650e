package ca

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
)

func TestPolicies(t *testing.T) {
	w := newWorld(t, nil)
	first := w.policies.Engine().Hash()
	if w.size(t) != 1 {
		t.Errorf("%d entries after the first start", w.size(t))
	}
	second := []byte(strings.Replace(testPolicy, ".internal", ".corp.internal", 1))
	v, err := w.policies.Apply(t.Context(), second, "local_socket:admin")
	if err != nil || v.Number != 2 || !v.Active || v.Hash == first || v.Entry != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	if again, err := w.policies.Apply(t.Context(), second, "local_socket:admin"); err != nil || again.Number != 2 || again.Entry != 1 {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	_, err = w.policies.Apply(t.Context(), []byte("version: 1\nprofile: []\n"), "local_socket:admin")
	wantProblem(t, err, problem.Malformed, "")
	if w.size(t) != 2 {
		t.Errorf("%d entries", w.size(t))
	}
	raw, err := w.store.Entries(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(raw[0])
	if err != nil {
		t.Fatal(err)
	}
	if change, err := entry.ParsePolicyChange(e.Draft); err != nil || string(change.Document) != string(second) || e.Actor != "local_socket:admin" {
		t.Errorf("entry of %s: %v", e.Actor, err)
	}
	_, err = w.Issue(t.Context(), request(t, ""), Attach{})
	wantProblem(t, err, problem.Denied, "")

	w.reopen(t) // the store is the truth, not the file
	if w.policies.Engine().Hash() != v.Hash || w.size(t) != 2 {
		t.Error("the restart changed the policy")
	}
	back, err := w.policies.Apply(t.Context(), []byte(testPolicy), "local_socket:admin")
	if err != nil || back.Number != 3 || back.Hash != first || back.Entry != 2 {
		t.Fatalf("%+v, %v", back, err)
	}
	list, next, err := w.policies.Versions(t.Context(), nil, 2)
	if err != nil || len(list) != 2 || list[0].Number != 3 || !list[0].Active || list[1].Active || next == nil || list[0].Entry != 2 || list[1].Entry != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	list, next, err = w.policies.Versions(t.Context(), next, 2)
	if err != nil || len(list) != 1 || list[0].Number != 1 || list[0].Active || next != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if got, err := w.policies.Version(t.Context(), first); err != nil || got.Number != 3 || string(got.Document) != testPolicy {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = w.policies.Version(t.Context(), [32]byte{1})
	wantProblem(t, err, problem.NotFound, "")
}

// TestPolicyParallel: of two servers' activations at once none is lost.
func TestPolicyParallel(t *testing.T) {
	w := newWorld(t, nil)
	peer, err := OpenPolicies(t.Context(), w.policies.cfg)
	if err != nil {
		t.Fatal(err)
	}
	document := func(owner string) []byte {
		return []byte(strings.Replace(testPolicy, "platform", owner, 1))
	}
	if _, err := w.policies.Apply(t.Context(), document("a"), "local_socket:a"); err != nil {
		t.Fatal(err)
	}
	_, err = peer.Apply(t.Context(), document("b"), "local_socket:b")
	wantProblem(t, err, problem.Conflict, "POLICY_CHANGED")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, nil)
	refusals := NewRefusals(RefusalsConfig{Store: w.store})
	w.refusals = refusals
	req := request(t, "r1")
	req.Identifiers = []identity.Identifier{{Type: identity.DNS, Value: "evil.example.com"}}
	if _, err := w.Issue(t.Context(), req, Attach{}); err == nil {
		t.Fatal("issued")
	}
	if _, err := w.Preview(t.Context(), req); err == nil {
		t.Fatal("allowed")
	}
	list, err := refusals.List(t.Context(), 0, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	f := list[0]
	if f.Requester != "local_socket:admin" || f.Profile != "server" || f.RequestID != "r1" || f.Kind != problem.Denied ||
		len(f.Violations) != 1 || len(f.Names) != 1 || f.Names[0] != "dns:evil.example.com" {
		t.Errorf("%+v", f)
	}
	if w.size(t) != 1 {
		t.Error("a refusal took the ledger")
	}
}

// TestRefusalsRing: the newest are kept, across restarts, whatever their size.
func TestRefusalsRing(t *testing.T) {
	w := newWorld(t, nil)
	refusals := NewRefusals(RefusalsConfig{Store: w.store})
	const all = refusalsKept + 50
	for i := range all {
		f := NewRefusal(request(t, fmt.Sprint(i)), problem.New(problem.Denied, "no"), w.now())
		f.Names = make([]string, 100)
		for n := range f.Names {
			f.Names[n] = strings.Repeat("x", 250)
		}
		refusals.Note(f)
		if i%100 == 99 {
			if _, err := refusals.List(t.Context(), 0, 0); err != nil { // writes what waits
				t.Fatal(err)
			}
		}
		if i == all/2 { // a restart
			if err := refusals.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			refusals = NewRefusals(RefusalsConfig{Store: w.store})
		}
	}
	list, err := refusals.List(t.Context(), 0, 2*refusalsKept)
	if err != nil || len(list) != refusalsKept || list[0].RequestID != fmt.Sprint(all-1) || list[refusalsKept-1].RequestID != "50" {
		t.Fatalf("%d kept, %v", len(list), err)
	}
	if page, err := refusals.List(t.Context(), 10, 5); err != nil || len(page) != 5 || page[0].RequestID != fmt.Sprint(all-11) {
		t.Errorf("%d on the page, %v", len(page), err)
	}
}

// TestRefusalsBounded: a flood neither blocks nor grows; Run writes.
func TestRefusalsBounded(t *testing.T) {
	w := newWorld(t, nil)
	refusals := NewRefusals(RefusalsConfig{Store: w.store})
	for range 2 * refusalsWaiting {
		refusals.Note(Refusal{Time: w.now()})
	}
	if n := refusals.Dropped(); n != refusalsWaiting {
		t.Errorf("%d dropped", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = refusals.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	for {
		page, err := w.store.Records(t.Context(), refusalCollection, "", "", nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) > 0 {
			break
		}
	}
}
