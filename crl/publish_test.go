package crl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// TestRevokedShows: the shard's list and the complete one say it within the
// delay, the other shards stay as they are.
func TestRevokedShows(t *testing.T) {
	w := newWorld(t, nil)
	w.run(t)
	w.ready(t)
	before := w.Lists()
	c := w.issue(t)
	if listed(w.fetch(t, shardPath(c.CRLShard)), c) != nil {
		t.Fatal("a good certificate is listed")
	}
	w.revoke(t, c, identity.KeyCompromise)
	until(t, "the shard's list", func() bool { return listed(w.fetch(t, shardPath(c.CRLShard)), c) != nil })
	until(t, "the complete list", func() bool { return listed(w.fetch(t, "/crl/issuing.crl"), c) != nil })
	e := listed(w.fetch(t, shardPath(c.CRLShard)), c)
	if e.ReasonCode != 1 || time.Since(e.RevocationTime) > time.Minute {
		t.Errorf("%+v", e)
	}
	for i, l := range w.Lists() {
		concerned := l.Shard == Complete || l.Shard == fmt.Sprint(c.CRLShard)
		if (l.Number > before[i].Number) != concerned {
			t.Errorf("list %s: number %d, before %d", l.Shard, l.Number, before[i].Number)
		}
	}
}

// TestDebounce: many revocations within the delay are one list.
func TestDebounce(t *testing.T) {
	const delay = 300 * time.Millisecond
	w := newWorld(t, func(c *testConfig) { c.RebuildDelay, c.shards = delay, 1 })
	w.run(t)
	w.ready(t)
	before, begun := w.Stats().Built, time.Now()
	for range 20 {
		w.revoke(t, w.issue(t), identity.Superseded)
	}
	until(t, "all", func() bool { return len(w.fetch(t, shardPath(0)).RevokedCertificateEntries) == 20 })
	w.ready(t)
	// Both lists, shard and complete, once in a delay at the most, however long the
	// revocations take.
	if n, most := w.Stats().Built-before, 2*(1+uint64(time.Since(begun)/delay)); n > most {
		t.Errorf("%d lists for 20 revocations, %d are the most", n, most)
	}
}

// TestNumbers rise across a restart and where the clock goes back.
func TestNumbers(t *testing.T) {
	w := newWorld(t, nil)
	last := map[string]uint64{}
	for _, jump := range []time.Duration{0, time.Hour, -2 * time.Hour, 0} {
		w.offset.Add(int64(jump))
		for range 2 {
			infos, err := w.Publish(t.Context(), "", "", "local_socket:admin")
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range infos {
				if i.Number <= last[i.Shard] {
					t.Errorf("list %s: number %d after %d", i.Shard, i.Number, last[i.Shard])
				}
				if !i.NextUpdate.After(w.now()) {
					t.Errorf("list %s: nextUpdate %s", i.Shard, i.NextUpdate)
				}
				last[i.Shard] = i.Number
			}
		}
		w.reopen(t, nil)
		for _, i := range w.Lists() {
			if i.Number != last[i.Shard] || i.Pending {
				t.Errorf("after a restart: %+v", i)
			}
		}
	}
	if last["0"] < uint64(time.Now().UnixMilli()) {
		t.Errorf("number %d is not a time in milliseconds", last["0"])
	}
}

// TestPublicationIsRecorded: the list and its entry are one unit.
func TestPublicationIsRecorded(t *testing.T) {
	w := newWorld(t, nil)
	infos, err := w.Publish(t.Context(), "issuing", "2", "local_socket:admin")
	if err != nil || len(infos) != 1 {
		t.Fatal(infos, err)
	}
	head, err := w.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.store.Entries(t.Context(), head.Size-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(raw[0])
	if err != nil {
		t.Fatal(err)
	}
	body, err := entry.ParseCRLPublished(e.Draft)
	if err != nil || body.Number != infos[0].Number || body.SHA256 != infos[0].SHA256 || body.Shard != "2" || e.Actor != "local_socket:admin" {
		t.Errorf("%+v %+v %v", e, body, err)
	}
	_, err = w.Publish(t.Context(), "nobody", "", "x:y")
	if problem.KindOf(err) != problem.NotFound {
		t.Error(err)
	}
}

// TestAfterAKill: a revocation whose list was never built is found at the start.
func TestAfterAKill(t *testing.T) {
	w := newWorld(t, nil)
	stop := w.run(t)
	w.ready(t)
	stop()
	c := w.issue(t)
	w.revoke(t, c, identity.Superseded)
	w.reopen(t, func(c *testConfig) { c.RebuildDelay = time.Hour })
	w.run(t)
	until(t, "list", func() bool { return listed(w.fetch(t, shardPath(c.CRLShard)), c) != nil })
}

// TestAbandonedIsListed: what was revoked before it was signed, too.
func TestAbandonedIsListed(t *testing.T) {
	w := newWorld(t, nil)
	died := errors.New("died")
	w.fault = func(p ca.Point) error { return map[ca.Point]error{ca.PointSigned: died}[p] }
	_, err := w.authority.Issue(t.Context(), identity.Request{
		Kind: identity.X509, Profile: "server", PublicKey: newKey(t).Public(),
		Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin"},
		Identifiers: []identity.Identifier{{Type: identity.DNS, Value: "svc.internal"}},
	}, ca.Attach{})
	if err == nil {
		t.Fatal("no error")
	}
	w.fault = nil
	w.reopen(t, nil)
	if n, err := w.authority.Settle(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	page, err := w.store.Certificates(t.Context(), storage.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := page.Certificates[0]
	w.run(t)
	until(t, "list", func() bool {
		return w.Lists()[1+c.CRLShard].Number > 0 && listed(w.fetch(t, shardPath(c.CRLShard)), c) != nil
	})
}

// TestExpired: it stays for one lifetime and one list beyond its end.
func TestExpired(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.Lifetime, c.shards = 2*time.Hour, 1 })
	c := w.issue(t) // for an hour
	w.revoke(t, c, identity.Superseded)
	for _, step := range []struct {
		after time.Duration
		there bool
	}{
		{0, true}, {50 * time.Minute, true}, {10 * time.Hour, true}, {time.Minute, false}, {time.Minute, false},
	} {
		w.offset.Add(int64(step.after))
		if _, err := w.Publish(t.Context(), "", "", "x:y"); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{shardPath(0), "/crl/issuing.crl"} {
			if there := listed(w.fetch(t, path), c) != nil; there != step.there {
				t.Errorf("%s at %s: listed %v", path, w.now(), there)
			}
		}
	}
}

// TestScheduled: it is built anew at a third of its life.
func TestScheduled(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.Lifetime = 3 * time.Hour })
	w.run(t)
	w.ready(t)
	first := w.Lists()
	w.offset.Add(int64(59 * time.Minute))
	w.Changed(ca.Change{}) // wakes it; nothing is due
	w.offset.Add(int64(2 * time.Minute))
	w.Changed(ca.Change{})
	until(t, "all anew", func() bool {
		return !slices.ContainsFunc(w.Lists(), func(i Info) bool { return i.ThisUpdate.Sub(first[0].ThisUpdate) < time.Hour })
	})
}

// TestTooLong: there is no complete list beyond the limit, and again one below.
func TestTooLong(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.CompleteLimit = 2 })
	w.run(t)
	for n := range 3 {
		w.ready(t)
		if i := w.Lists()[0]; i.Shard != Complete || i.TooLong || i.Entries != n {
			t.Fatalf("%d: %+v", n, i)
		}
		w.revoke(t, w.issue(t), identity.Superseded)
		until(t, "entries", func() bool { i := w.Lists()[0]; return i.Entries == n+1 || i.TooLong })
	}
	if i := w.Lists()[0]; !i.TooLong || i.Number != 0 {
		t.Errorf("%+v", i)
	}
	w.reopen(t, func(c *testConfig) { c.CompleteLimit = 2 })
	if i := w.Lists()[0]; !i.TooLong || i.Number != 0 {
		t.Errorf("after a restart: %+v", i)
	}
	w.reopen(t, nil)
	w.run(t)
	w.ready(t)
	if i := w.Lists()[0]; i.TooLong || i.Entries != 3 {
		t.Errorf("with a greater limit: %+v", i)
	}
	w.reopen(t, func(c *testConfig) { c.CompleteLimit = -1 })
	if i := w.Lists()[0]; i.Shard == Complete {
		t.Errorf("with none: %+v", i)
	}
}

// TestFewerShards and another base: what certificates name stays published.
func TestFewerShards(t *testing.T) {
	w := newWorld(t, nil)
	w.base = "https://new.test"
	w.reopen(t, func(c *testConfig) { c.shards = 1 })
	w.run(t)
	w.ready(t)
	if n := len(w.Lists()); n != 5 {
		t.Fatalf("%d lists", n)
	}
	point := ""
	for _, e := range w.fetch(t, shardPath(3)).Extensions {
		if e.Critical {
			point = string(e.Value)
		}
	}
	if !strings.Contains(point, base+shardPath(3)) || !strings.Contains(point, "https://new.test"+shardPath(3)) {
		t.Errorf("distribution point %q", point)
	}
}

// TestFailedBuild is kept, counted and tried again.
func TestFailedBuild(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.shards = 1 })
	if _, err := w.Publish(t.Context(), "", "", "x:y"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Publish(t.Context(), "", "0", "x:y"); err == nil {
		t.Fatal("no error")
	}
	if i := w.Lists()[1]; i.Error == "" || i.Number == 0 || w.Stats().Failures != 1 {
		t.Errorf("%+v %+v", i, w.Stats())
	}
	if due := w.due(w.lists[1]); !due.After(time.Now()) {
		t.Errorf("tried again at once: %s", due)
	}
	w.fetch(t, shardPath(0)) // what was published is served still
}
