package ledger

import "sync"

// progress turns the progress of several tracks, which run at the same time, into
// one number that rises from 0 to total.
type progress struct {
	report func(done, total uint64)
	total  uint64

	mu     sync.Mutex
	tracks []*track
	last   uint64
}

// track is a share of the work, done in one pass or several after another.
type track struct {
	of       *progress
	share    float64
	from, to int // percent: the pass that is under way
	done     float64
}

// track adds one; the shares of all are 1.
func (p *progress) track(share float64) *track {
	t := &track{of: p, share: share, to: 100}
	p.tracks = append(p.tracks, t)
	return t
}

// span begins the pass from so many percent of the track to so many.
func (t *track) span(from, to int) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.from, t.to = from, to
}

// at says how far the pass is.
func (t *track) at(done, of uint64) {
	p := t.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report == nil || of == 0 {
		return
	}
	t.done = t.share * (float64(t.from) + float64(t.to-t.from)*float64(min(done, of))/float64(of)) / 100
	sum := 0.0
	for _, each := range p.tracks {
		sum += each.done
	}
	if now := uint64(sum * float64(p.total)); now >= p.last {
		p.last = now
		p.report(now, p.total)
	}
}

// bitmap is a set of entries.
type bitmap []uint64

func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
func (b bitmap) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]>>(i%64)&1 == 1 }
