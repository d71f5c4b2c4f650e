package schedule

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixed are rules with one random number.
func fixed(x float64) Rules { return Rules{Rand: func() float64 { return x }} }

func seeded(seed uint64) Rules {
	return Rules{Rand: rand.New(rand.NewPCG(seed, 1)).Float64}
}

func TestWithoutSuggestion(t *testing.T) {
	for x, want := range map[float64]time.Duration{0: 7 * time.Hour, 0.5: 8 * time.Hour, 1: 9 * time.Hour} {
		r := fixed(x)
		p := r.Renewed(r.Start(noon), noon, noon.Add(12*time.Hour), noon)
		if got := r.Next(p, noon); !got.Equal(noon.Add(want)) {
			t.Errorf("at %v: %v after the start, want %v", x, got.Sub(noon), want)
		}
		if p.Ask.After(noon) {
			t.Error("a new certificate is not asked for")
		}
	}
	// Backdated for longer than it lives from now on: still not due at once.
	r := fixed(0)
	p := r.Renewed(r.Start(noon), noon.Add(-time.Hour), noon.Add(12*time.Minute), noon)
	if got := r.Next(p, noon); !got.Equal(noon.Add(7 * time.Minute)) {
		t.Errorf("backdated: %v", got.Sub(noon))
	}
	if got := r.Next(r.Start(noon), noon); got.After(noon) {
		t.Errorf("without a certificate: %v", got)
	}
}

func TestSuggestion(t *testing.T) {
	r := fixed(0.5)
	fresh := r.Renewed(r.Start(noon), noon, noon.Add(12*time.Hour), noon)
	hours := func(from, to float64) Window {
		return Window{noon.Add(time.Duration(from * float64(time.Hour))), noon.Add(time.Duration(to * float64(time.Hour)))}
	}
	for name, test := range map[string]struct {
		window Window
		due    time.Duration
	}{
		"usual, the point stays": {hours(7.5, 10), 8 * time.Hour},
		"later":                  {hours(9, 10), 9*time.Hour + 30*time.Minute},
		"earlier":                {hours(2, 4), 3 * time.Hour},
		"past":                   {hours(-4, -2), -3 * time.Hour},
		"a point":                {hours(8.5, 8.5), 8*time.Hour + 30*time.Minute},
		"ends after the life":    {hours(10, 30), 10*time.Hour + 30*time.Minute},
		"begins after the life":  {hours(13, 14), 8 * time.Hour},
		"begins at the very end": {hours(11.9, 12), 8 * time.Hour},
		"turned round":           {hours(5, 4), 8 * time.Hour},
		"empty":                  {Window{}, 8 * time.Hour},
	} {
		p := r.Suggested(fresh, test.window, 6*time.Hour, noon)
		if got := p.Due.Sub(noon); got != test.due {
			t.Errorf("%s: due after %v, want %v", name, got, test.due)
		}
		if got := p.Ask.Sub(noon); got != 6*time.Hour+45*time.Minute {
			t.Errorf("%s: asked again after %v", name, got)
		}
	}
	for told, want := range map[time.Duration]time.Duration{0: minAsk * 9 / 8, -time.Hour: minAsk * 9 / 8, 1000 * time.Hour: 27 * time.Hour} {
		if got := r.Suggested(fresh, hours(8, 9), told, noon).Ask.Sub(noon); got != want {
			t.Errorf("asked again after %v: %v, want %v", told, got, want)
		}
	}
	if p := r.Unanswered(fresh, noon); p.Due != fresh.Due || p.Ask.Sub(noon) != maxWait*9/8 {
		t.Errorf("unanswered: %+v", p)
	}
}

func TestFailures(t *testing.T) {
	r := Rules{Tries: 60, Rand: func() float64 { return 0 }}
	p := r.Renewed(r.Start(noon), noon, noon.Add(time.Hour), noon)
	var waits []time.Duration
	now := p.Due
	for range 6 {
		p = r.Failed(r.Tried(p, now), 0, now)
		waits = append(waits, r.Next(p, now).Sub(now))
		now = r.Next(p, now)
	}
	want := []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute}
	if !reflect.DeepEqual(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	for told, want := range map[time.Duration]time.Duration{
		time.Minute: 10 * time.Minute, 30 * time.Minute: 30 * time.Minute, 1000 * time.Hour: time.Hour, -time.Hour: 10 * time.Minute,
	} {
		if got := r.Failed(p, told, now).Retry.Sub(now); got != want {
			t.Errorf("told %v: waits %v, want %v", told, got, want)
		}
	}
	// Far past the expiry it is the same.
	now = noon.Add(100 * time.Hour)
	p = r.Failed(r.Tried(p, now), 0, now)
	if got := r.Next(p, now).Sub(now); got != 10*time.Minute {
		t.Errorf("after the expiry: %v", got)
	}
	// Ninety days do not make a wait of a month.
	long := r.Renewed(r.Start(noon), noon, noon.Add(90*24*time.Hour), noon)
	long.Failures = 1000
	if got := r.Failed(long, 0, now).Retry.Sub(now); got > time.Hour {
		t.Errorf("of ninety days: %v", got)
	}
}

// TestTries: whatever happens, there are never more attempts in an hour, or in a
// shorter life, than the rules allow, and some attempt is always still to come.
func TestTries(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		r := seeded(seed)
		r.Tries = random.IntN(10) // 0 is the default
		life := time.Duration(1+random.IntN(7200)) * time.Second
		now, p := noon, r.Start(noon)
		var tries []time.Time
		for range 400 {
			at := r.Next(p, now)
			if at.After(now) {
				now = at
			}
			if !p.Window.Start.IsZero() && now.Before(p.Window.Start) {
				t.Fatalf("seed %d: an attempt at %v, before its window", seed, now)
			}
			tries = append(tries, now)
			period := r.period(p)
			p = r.Tried(p, now)
			if n := r.tries(); len(tries) > n && now.Sub(tries[len(tries)-1-n]) < min(period, r.period(Plan{NotBefore: noon, NotAfter: noon.Add(life)})) {
				t.Fatalf("seed %d: %d attempts within %v", seed, n+1, now.Sub(tries[len(tries)-1-n]))
			}
			now = now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			switch random.IntN(4) {
			case 0:
				p = r.Failed(p, 0, now)
			case 1: // the CA says that it is due at once
				p = r.Renewed(p, now.Add(-life), now.Add(time.Second), now)
			case 2:
				p = r.Suggested(r.Renewed(p, now, now.Add(life), now), Window{now.Add(-2 * life), now.Add(-life)}, 0, now)
			default:
				p = r.Renewed(p, now, now.Add(life), now)
			}
		}
	}
}

// TestDueAtOnce: a CA whose certificates are always due makes no loop.
func TestDueAtOnce(t *testing.T) {
	r := fixed(0)
	now, p := noon, r.Start(noon)
	var gaps []time.Duration
	for range 9 {
		at := now
		if next := r.Next(p, now); next.After(now) {
			at = next
		}
		gaps = append(gaps, at.Sub(now))
		now = at
		p = r.Renewed(r.Tried(p, now), now, now.Add(time.Hour), now)
		p = r.Suggested(p, Window{now.Add(-2 * time.Hour), now.Add(-time.Hour)}, 0, now)
	}
	if gaps[1] != 0 || gaps[2] != 2*time.Minute || gaps[3] != 4*time.Minute || gaps[8] < 10*time.Minute {
		t.Errorf("gaps %v", gaps)
	}
	// Once a certificate lasts, all is as before.
	p = r.Renewed(p, now, now.Add(time.Hour), now)
	now = r.Next(p, now)
	if p = r.Renewed(r.Tried(p, now), now, now.Add(time.Hour), now); p.Hasty != 0 || !p.Retry.IsZero() {
		t.Errorf("after one that lasted: %+v", p)
	}
}

// TestClockSetBack: what was noted in a future that is none holds nothing up.
func TestClockSetBack(t *testing.T) {
	r := fixed(0.5)
	p := r.Renewed(r.Start(noon), noon, noon.Add(time.Hour), noon)
	late := noon.Add(1000 * time.Hour)
	for range 10 {
		p = r.Failed(r.Tried(p, late), 0, late)
	}
	now := noon.Add(50 * time.Minute)
	if next := r.Next(p, now); next.After(now) {
		t.Errorf("the clock was set back: next %v", next)
	}
}

func TestPlanIsKept(t *testing.T) {
	r := fixed(0.5)
	p := r.Failed(r.Tried(r.Renewed(r.Start(noon), noon, noon.Add(time.Hour), noon), noon), 0, noon)
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("%s: %+v %v", data, again, err)
	}
	if data, _ := json.Marshal(Plan{}); string(data) != "{}" {
		t.Errorf("an empty plan: %s", data)
	}
}

// TestLongLife: a certificate of a century is due after seven twelfths of it.
func TestLongLife(t *testing.T) {
	century := noon.AddDate(100, 0, 0)
	for _, x := range []float64{0, 0.5, 0.999} {
		r := fixed(x)
		due := r.Next(r.Renewed(r.Start(noon), noon, century, noon), noon)
		if due.Before(noon.AddDate(58, 0, 0)) || due.After(noon.AddDate(76, 0, 0)) {
			t.Errorf("%v: due %s", x, due)
		}
	}
}
