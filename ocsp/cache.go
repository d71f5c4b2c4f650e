package ocsp

import (
	"sync"
	"time"

	"github.com/certwright/certwright/identity"
)

// key names an answer that can be kept.
type key struct {
	issuer  uint16
	variant variant
	serial  identity.Serial
}

// cache keeps answers, and makes sure that each is signed once at a time. It is
// in shards, by the serial's random octets.
type cache struct {
	shards [16]shard
}

// shard is a least-recently-used list with at most budget octets.
type shard struct {
	mu      sync.Mutex
	kept    map[key]*node
	flights map[key]*flight
	root    node // of the ring: next is the most recently used
	bytes   int
	budget  int
	evicted uint64
}

// node is an answer that is kept.
type node struct {
	key        key
	reply      *reply
	hits       int // since it was signed
	next, prev *node
}

// nodeSize is what a kept answer takes besides its body: node, reply, header
// values and the map's slot, rounded up.
const nodeSize = 768

// flight is a signature under way; done is closed when reply is set.
type flight struct {
	done  chan struct{}
	reply *reply
	stale bool // the certificate's state has changed meanwhile
}

func newCache(budget int) *cache {
	c := &cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.kept, s.flights = map[key]*node{}, map[key]*flight{}
		s.root.next, s.root.prev = &s.root, &s.root
		s.budget = budget / len(c.shards)
	}
	return c
}

func (c *cache) shard(k key) *shard {
	return &c.shards[int(k.serial[identity.SerialSize-1])%len(c.shards)]
}

// begin looks a key up. With a fresh answer, that is all. Else the caller joins
// the flight; as its leader it must end it. An answer that is past its half but
// still valid comes with the flight.
func (s *shard) begin(k key, now time.Time) (kept *reply, f *flight, leader bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.kept[k]; n != nil {
		if now.Before(n.reply.freshUntil) && !now.Before(n.reply.thisUpdate) {
			n.hits++
			s.toFront(n)
			return n.reply, nil, false
		}
		if now.Before(n.reply.usableUntil) {
			kept = n.reply
		}
	}
	if f = s.flights[k]; f != nil {
		return kept, f, false
	}
	f = &flight{done: make(chan struct{})}
	s.flights[k] = f
	return kept, f, true
}

// lead begins a flight for a key that is kept, unless there is one: nil.
func (s *shard) lead(k key) (*reply, *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.kept[k]
	if n == nil || s.flights[k] != nil {
		return nil, nil
	}
	f := &flight{done: make(chan struct{})}
	s.flights[k] = f
	return n.reply, f
}

// stale tells whether the state has changed since the flight began.
func (s *shard) stale(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.stale
}

// end ends a flight with an answer, which is kept if it is fresh and may be.
func (s *shard) end(k key, f *flight, r *reply, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.reply = r
	close(f.done)
	if f.stale {
		return // a flight that came later may have the key
	}
	delete(s.flights, k)
	if fresh && r.lasting() {
		s.put(k, r)
	}
}

func (s *shard) put(k key, r *reply) {
	if n := s.kept[k]; n != nil {
		s.bytes += len(r.body) - len(n.reply.body)
		n.reply, n.hits = r, 0
		s.toFront(n)
	} else {
		n = &node{key: k, reply: r}
		s.kept[k] = n
		s.bytes += len(r.body) + nodeSize
		s.toFront(n)
	}
	for s.bytes > s.budget {
		s.drop(s.root.prev)
		s.evicted++
	}
}

func (s *shard) toFront(n *node) {
	if n.next != nil {
		n.prev.next, n.next.prev = n.next, n.prev
	}
	n.next, n.prev = s.root.next, &s.root
	n.next.prev, s.root.next = n, n
}

func (s *shard) drop(n *node) {
	n.prev.next, n.next.prev = n.next, n.prev
	delete(s.kept, n.key)
	s.bytes -= len(n.reply.body) + nodeSize
}

// forget drops what is kept and under way of a key: the state it tells is no
// longer the certificate's.
func (s *shard) forget(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.kept[k]; n != nil {
		s.drop(n)
	}
	if f := s.flights[k]; f != nil {
		f.stale = true
		delete(s.flights, k)
	}
}

// forgetAll forgets every key.
func (s *shard) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.kept {
		s.drop(n)
	}
	for k, f := range s.flights {
		f.stale = true
		delete(s.flights, k)
	}
}

// sweep drops answers that nobody may use any more, and returns the keys of hot
// ones that will soon be past their half.
func (s *shard) sweep(now time.Time) []key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hot []key
	for k, n := range s.kept {
		switch r := n.reply; {
		case !now.Before(r.usableUntil):
			s.drop(n)
		case !now.Before(r.warmAt) && n.hits >= hotHits:
			hot = append(hot, k)
		}
	}
	return hot
}

// size is how many answers are kept, their octets, and how many were evicted
// for want of room.
func (c *cache) size() (entries, octets int, evicted uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries += len(s.kept)
		octets += s.bytes
		evicted += s.evicted
		s.mu.Unlock()
	}
	return entries, octets, evicted
}
