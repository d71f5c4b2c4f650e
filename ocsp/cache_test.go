package ocsp

import (
	"crypto"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
)

// TestCacheIsBounded: whatever is asked, what is kept stays within its bytes, and
// the least recently used goes first.
func TestCacheIsBounded(t *testing.T) {
	const budget = 16 * 8 * (nodeSize + 1000) // eight answers in each shard
	c := newCache(budget)
	now := time.Now()
	fill := func(k key) *reply {
		s := c.shard(k)
		kept, f, leader := s.begin(k, now)
		if f == nil {
			return kept
		}
		if !leader {
			t.Fatal("somebody else's flight")
		}
		rep := newReply(make([]byte, 900+int(k.serial[8])%200))
		rep.keep(good, now, now.Add(time.Hour))
		s.end(k, f, rep, true)
		return nil
	}
	first := key{serial: identity.Serial{15: 0}}
	fill(first)
	for i := range 4000 {
		k := key{issuer: uint16(i % 3), variant: variant(i % 4)}
		binary.BigEndian.PutUint64(k.serial[8:], uint64(i)<<40|uint64(i))
		fill(k)
		if fill(first) == nil {
			t.Fatalf("after %d answers the most used one is gone", i)
		}
	}
	entries, octets, evicted := c.size()
	if octets > budget || octets < budget/2 || entries+int(evicted) < 4000 {
		t.Errorf("%d answers in %d octets, %d evicted; the budget is %d", entries, octets, evicted, budget)
	}
	for i := range c.shards {
		c.shards[i].forgetAll()
	}
	if entries, octets, _ := c.size(); entries != 0 || octets != 0 {
		t.Errorf("%d answers in %d octets after forgetting all", entries, octets)
	}
	tiny := newCache(16)
	k := key{}
	_, f, _ := tiny.shard(k).begin(k, now)
	rep := newReply(make([]byte, 900))
	rep.keep(good, now, now.Add(time.Hour))
	tiny.shard(k).end(k, f, rep, true)
	if entries, octets, _ := tiny.size(); entries != 0 || octets != 0 {
		t.Errorf("a cache without room keeps %d answers", entries)
	}
}

// TestCacheCountsItsMemory: what a full cache takes of the heap is what it says.
func TestCacheCountsItsMemory(t *testing.T) {
	const budget = 8 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	now := time.Now()
	before := heap()
	c := newCache(budget)
	for i := range 20000 {
		var k key
		binary.BigEndian.PutUint64(k.serial[8:], uint64(i))
		_, f, _ := c.shard(k).begin(k, now)
		rep := newReply(tlv(0x30, make([]byte, 700+i%300)))
		rep.keep(good, now, now.Add(time.Hour))
		c.shard(k).end(k, f, rep, true)
	}
	taken := heap() - before
	entries, octets, _ := c.size()
	if taken > budget*11/10 {
		t.Errorf("%d answers take %d octets of the heap; counted are %d, allowed %d", entries, taken, octets, budget)
	}
	t.Logf("%d answers, %d octets counted, %d taken", entries, octets, taken)
}

// TestSignedOnce: of many who ask for one answer at once, one signs.
func TestSignedOnce(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	serial := serialOf(tn.issueLeaf(t)).Big()
	question := tn.question(t, serial, crypto.SHA1)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if body := tn.postForTest(question).Body.Bytes(); len(body) < 100 {
				t.Errorf("%x", body)
			}
		})
	}
	wg.Wait()
	if s := tn.Stats(); s.ResponderSignatures != 1 || s.Good != 64 || s.CacheHits+s.CacheMisses != 64 {
		t.Errorf("%+v", s)
	}
}

func TestStatsLatency(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	for range 3 {
		tn.ask(t, serialOf(tn.leaves["good"]).Big())
	}
	l := tn.Stats().Latency
	var n uint64
	for _, c := range l.Counts {
		n += c
	}
	if n != 3 || len(l.Counts) != len(l.Bounds)+1 || l.Sum <= 0 {
		t.Errorf("%+v", l)
	}
}

func TestConfigIsChecked(t *testing.T) {
	store, authority := openStore(t), newAuthority(t, "ecdsa-p256", "A")
	is := IssuerConfig{Name: "a", Certificate: authority.cert, Signer: authority.key}
	wrong := is
	wrong.Signer = newKey(t, "ecdsa-p256")
	for name, cfg := range map[string]Config{
		"no store":        {Issuers: []IssuerConfig{is}},
		"no issuers":      {Store: store},
		"no certificate":  {Store: store, Issuers: []IssuerConfig{{Name: "a", Signer: authority.key}}},
		"no way to sign":  {Store: store, Issuers: []IssuerConfig{{Name: "a", Certificate: authority.cert, Profile: "p"}}},
		"another's key":   {Store: store, Issuers: []IssuerConfig{wrong}},
		"an issuer twice": {Store: store, Issuers: []IssuerConfig{is, is}},
		"too short":       {Store: store, Issuers: []IssuerConfig{is}, Lifetime: time.Second},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
