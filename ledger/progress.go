package ledger

import "sync"

// progress turns the progress of several passes into one number that rises
// from 0 to total.
type progress struct {
	report func(done, total uint64)
	total  uint64

	mu       sync.Mutex
	from, to int // percent: the pass that is under way
	last     uint64
}

// span begins the pass that ends at so many percent of the work.
func (p *progress) span(to int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.to = p.to, to
}

// at says how far the pass is.
func (p *progress) at(done, of uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report == nil || of == 0 {
		return
	}
	share := float64(p.from) + float64(p.to-p.from)*float64(min(done, of))/float64(of)
	if now := uint64(share / 100 * float64(p.total)); now >= p.last {
		p.last = now
		p.report(now, p.total)
	}
}

// bitmap is a set of entries.
type bitmap []uint64

func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
func (b bitmap) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]>>(i%64)&1 == 1 }
