package schedule

import (
	"fmt"
	"testing"
	"time"
)

// fleet is what 10,000 agents do to a CA.
type fleet struct {
	life   time.Duration
	window bool          // the CA suggests its window: from two thirds to three quarters of the life
	outage time.Duration // begins after four lives
	load   []int         // attempts by minute, from the outage's end on: the failed and the good
	good   []int         // those that gave a certificate
}

const agents = 10_000

// run has each agent live from a random point of its first life to an hour after the
// outage. Agents share nothing but the CA, so one after the other does.
func (f *fleet) run(seed uint64) {
	r := seeded(seed)
	down := noon.Add(4 * f.life)
	up := down.Add(f.outage)
	end := up.Add(time.Hour)
	f.load, f.good = make([]int, 60), make([]int, 60)
	for range agents {
		born := noon.Add(-time.Duration(r.random() * float64(f.life) * 2 / 3))
		p := r.renewed(r.Start(born), f, born)
		for now := r.Next(p, born); now.Before(end); now = r.Next(p, now) {
			p = r.Tried(p, now)
			minute := -1
			if !now.Before(up) {
				minute = int(now.Sub(up) / time.Minute)
				f.load[minute]++
			}
			if !now.Before(down) && now.Before(up) {
				p = r.Failed(p, 0, now)
				continue
			}
			p = r.renewed(p, f, now)
			if minute >= 0 {
				f.good[minute]++
			}
		}
	}
}

func (r Rules) renewed(p Plan, f *fleet, now time.Time) Plan {
	p = r.Renewed(p, now, now.Add(f.life), now)
	if f.window {
		start := now.Add(f.life * 2 / 3)
		p = r.Suggested(p, Window{start, start.Add(max(f.life/12, time.Minute))}, f.life/20, now)
	}
	return p
}

// peak is the busiest minute by the mean.
func peak(load []int) float64 {
	most, sum := 0, 0
	for _, n := range load {
		most, sum = max(most, n), sum+n
	}
	return float64(most) * float64(len(load)) / float64(sum)
}

// TestNoHerd: 10,000 agents over one hour, in quiet times and from the minute on in
// which a CA is back: the busiest minute has at most three times the mean.
func TestNoHerd(t *testing.T) {
	for _, life := range []time.Duration{time.Hour, 24 * time.Hour} {
		for _, outage := range []time.Duration{0, 15 * time.Minute, 2 * time.Hour, 30 * time.Hour} {
			if outage > 3*life { // no other than one of two lives, only longer
				continue
			}
			for _, window := range []bool{false, true} {
				t.Run(fmt.Sprintf("life %v, outage %v, window %v", life, outage, window), func(t *testing.T) {
					for seed := range uint64(2) {
						f := fleet{life: life, outage: outage, window: window}
						f.run(seed)
						sum := 0
						for _, n := range f.good {
							sum += n
						}
						if got := peak(f.load); got > 3 {
							t.Errorf("seed %d: the peak is %.2f of the mean: %v", seed, got, f.load)
						} else if seed == 0 {
							t.Logf("peak %.2f of the mean, %d certificates in the hour", got, sum)
						}
						if outage > life && sum < agents {
							t.Errorf("seed %d: %d of %d agents have a certificate an hour after the outage", seed, sum, agents)
						}
					}
				})
			}
		}
	}
}
