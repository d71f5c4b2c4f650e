package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// held is what a server holds at a time.
type held struct {
	at     time.Duration
	values [len(kinds)]float64
	goal   float64 // what the heap may grow to before the next collection, in octets
}

// kind is one sort of what a server holds, and how much it may rise in the second
// half, whatever the share.
type kind struct {
	name  string
	unit  float64
	floor float64 // in units
}

// kinds are what is judged: the heap that a collection found alive (what is in use by the
// time one looks holds the garbage made since, as much as the load is fast); pages that
// are not a file's (by judgePages); goroutines; descriptors.
var kinds = [...]kind{{"live heap MiB", 1 << 20, 3}, {"RssAnon MiB", 1 << 20, 0}, {"goroutines", 1, 12}, {"descriptors", 1, 8}}

const heapKind, pagesKind = 0, 1

// sampleUntil looks at the server again and again until ctx ends.
func (s *soak) sampleUntil(ctx context.Context, every time.Duration) []held {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var out []held
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return out
		case <-tick.C:
		}
		out = append(out, s.server.held(time.Since(began)))
	}
}

// held collects garbage and looks.
func (s *server) held(at time.Duration) held {
	s.tb.Helper()
	resp, err := http.Get("http://" + s.metrics + "/debug/pprof/heap?gc=1")
	check(s.tb, err)
	_, err = io.Copy(io.Discard, resp.Body)
	check(s.tb, err)
	check(s.tb, resp.Body.Close())
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	check(s.tb, err)
	return held{at, [len(kinds)]float64{
		s.metric("go_gc_heap_live_bytes"), s.anonymous(), s.metric("go_goroutines"), float64(len(open)),
	}, s.metric("go_memstats_next_gc_bytes")}
}

// anonymous is RssAnon of proc(5), in octets.
func (s *server) anonymous() float64 {
	s.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	check(s.tb, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			check(s.tb, err)
			return n * 1024
		}
	}
	s.tb.Fatal("there is no RssAnon")
	return 0
}

// judge prints the samples and fails for what rises in their second half: by its
// slope, the median of those between all pairs, by more than a tenth (half in a short
// run, where much is still warming up) and more than the floor.
func judge(t *testing.T, samples []held, length time.Duration) {
	t.Helper()
	share := 0.1
	if length < 2*time.Minute {
		share = 0.5
	}
	var table strings.Builder
	for i, h := range samples {
		if i%max(len(samples)/12, 1) == 0 || i == len(samples)-1 {
			fmt.Fprintf(&table, "\n%8s", h.at.Round(time.Second))
			for k, v := range h.values {
				fmt.Fprintf(&table, "  %s %.1f", kinds[k].name, v/kinds[k].unit)
			}
		}
	}
	t.Log(table.String())
	second := samples[len(samples)/2:]
	if len(second) < 4 {
		t.Fatalf("%d samples are too few", len(samples))
	}
	for k, kind := range kinds {
		rise, level := trend(second, k)
		t.Logf("%s: %.1f, rises by %.1f in the second half", kind.name, level/kind.unit, rise/kind.unit)
		if k != pagesKind && rise > max(share*level, kind.floor*kind.unit) {
			t.Errorf("%s rises", kind.name)
		}
	}
}

// pagesBound is what anonymous pages may come to, with a heap that is collected when it
// has grown to a goal: it is cut into pieces, and beside it are stacks and the runtime's
// own.
func pagesBound(goal float64) float64 { return 1.3*goal + 24<<20 }

// judgePages fails for pages that the heap does not explain. They go up and down with
// the garbage, which would hide a small leak of their own, or look like one: what leaks
// in the heap is seen after a collection. The largest goal counts: what the heap took for
// it is given back slowly.
func judgePages(t *testing.T, samples []held) {
	t.Helper()
	var goals, pages []float64
	for _, h := range samples[len(samples)/2:] {
		goals, pages = append(goals, h.goal), append(pages, h.values[pagesKind])
	}
	most, goal := slices.Max(pages), slices.Max(goals)
	bound := pagesBound(goal)
	t.Logf("RssAnon: at most %.1f MiB; %.1f are allowed with a heap that may grow to %.1f", most/(1<<20), bound/(1<<20), goal/(1<<20))
	if most > bound {
		t.Errorf("RssAnon is %.0f, and the heap's goal %.0f", most, goal)
	}
}

// TestPagesBound: what the server holds by itself is allowed, a leak beside it is not.
func TestPagesBound(t *testing.T) {
	const mib = 1 << 20
	if bound := pagesBound(60 * mib); bound < 85*mib || bound > 110*mib {
		t.Errorf("%.0f MiB for a heap that grows to 60 MiB", bound/mib)
	}
}

// trend is by how much a value rises over the samples (Theil and Sen), and its median.
func trend(samples []held, k int) (rise, level float64) {
	var slopes, values []float64
	for i, a := range samples {
		values = append(values, a.values[k])
		for _, b := range samples[i+1:] {
			slopes = append(slopes, (b.values[k]-a.values[k])/(b.at-a.at).Seconds())
		}
	}
	return median(slopes) * (samples[len(samples)-1].at - samples[0].at).Seconds(), median(values)
}

func median[N cmp.Ordered](of []N) N {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// TestTrend: what leaks is seen through noise, and noise is no leak.
func TestTrend(t *testing.T) {
	for name, test := range map[string]struct {
		leak float64 // a sample
		want float64
	}{"flat": {0, 0}, "leaking": {5, 115}} {
		var samples []held
		for i := range 24 {
			h := held{at: time.Duration(i) * time.Second}
			h.values[0] = 1000 + test.leak*float64(i) + float64(i*7%5)
			if i == 3 || i == 20 {
				h.values[0] += 10_000
			}
			samples = append(samples, h)
		}
		if rise, _ := trend(samples, 0); rise < test.want-8 || rise > test.want+8 {
			t.Errorf("%s: %.1f, want about %.1f", name, rise, test.want)
		}
	}
}
