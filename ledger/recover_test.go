package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// lost is a ledger whose database was put back to an earlier state: 100 entries, of
// 600 that were last seen.
type lost struct {
	*place
	copy string // folder with all 600
	seen []byte // the last-seen file
}

func newLost(t *testing.T) *lost {
	t.Helper()
	p := newPlace(t)
	s, closed := p.store(t, false)
	l := p.open(t, s)
	end := run(t, l)
	appendEntries(t, s, 99)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	closed()
	old, err := os.ReadFile(p.db)
	if err != nil {
		t.Fatal(err)
	}
	s, closed = p.store(t, false)
	l = p.open(t, s)
	end = run(t, l)
	appendEntries(t, s, 500)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	x := &lost{place: p, copy: t.TempDir()}
	exportTo(t, s, x.copy, 600)
	closed()
	if x.seen, err = os.ReadFile(p.lock); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.db, old, 0o600); err != nil {
		t.Fatal(err)
	}
	return x
}

// exportTo writes the first entries and the newest checkpoint as C2SP tlog-tiles.
func exportTo(t *testing.T, s ledger.Store, dir string, size int) {
	t.Helper()
	r, err := s.Record(t.Context(), "checkpoint", "latest")
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, layout.Checkpoint, r.Body[8:])
	for start := 0; start < size; start += merkle.TileWidth {
		width := min(size-start, merkle.TileWidth)
		raws, err := s.Entries(t.Context(), uint64(start), width)
		if err != nil {
			t.Fatal(err)
		}
		var bundle []byte
		for _, raw := range raws {
			if bundle, err = layout.AppendEntry(bundle, raw); err != nil {
				t.Fatal(err)
			}
		}
		put(t, dir, layout.Tile{Level: layout.Entries, N: uint64(start / merkle.TileWidth), Width: width}.Path(), bundle)
	}
}

func put(t *testing.T, dir, path string, data []byte) {
	t.Helper()
	path = filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (x *lost) recovery(s ledger.Store, from string) ledger.RecoverConfig {
	return ledger.RecoverConfig{Store: s, Origin: origin, Signer: x.key, Lock: x.lock, From: from, Actor: "local_socket:admin"}
}

// followed counts what a recovery shows, and can end it.
type followed struct {
	fresh, there int
	endAt        uint64 // index at which it fails; 0: never
	endLast      bool
}

var errEnded = errors.New("ended")

func (f *followed) Back(_ context.Context, index uint64, _ entry.Entry, _ entry.Body, there bool) ([]storage.Command, error) {
	if f.endAt > 0 && index == f.endAt {
		return nil, errEnded
	}
	if there {
		f.there++
	} else {
		f.fresh++
	}
	return nil, nil
}

func (f *followed) Last(context.Context) ([]storage.Command, error) {
	if f.endLast {
		return nil, errEnded
	}
	return nil, nil
}

func silent(uint64, uint64) {}

// recovered wants the ledger to open and to hold, with so many entries.
func (x *lost) recovered(t *testing.T, epoch ledger.Epoch, size uint64) {
	t.Helper()
	s, closed := x.store(t, false)
	defer closed()
	l := x.open(t, s)
	want, err := ledger.VerifierKey(ledger.EpochOrigin(origin, epoch.Number), x.key.Public())
	if err != nil || l.VerifierKey() != want {
		t.Errorf("verifier key %s, want %s, %v", l.VerifierKey(), want, err)
	}
	if got, err := ledger.CurrentEpoch(t.Context(), s); err != nil || got != epoch {
		t.Errorf("epoch %+v, want %+v, %v", got, epoch, err)
	}
	var found []storage.Finding
	sum, err := ledger.Verify(t.Context(), ledger.VerifyConfig{Store: s, VerifierKey: want, Lock: x.lock}, func(f storage.Finding) { found = append(found, f) })
	if err != nil || len(found) > 0 || sum.Entries != size {
		t.Errorf("%d entries, want %d, findings %+v, %v", sum.Entries, size, found, err)
	}
}

func TestBehindRefuses(t *testing.T) {
	x := newLost(t)
	s, _ := x.store(t, false)
	_, err := ledger.Open(t.Context(), x.config(s))
	var p *problem.Problem
	if !errors.As(err, &p) || p.Reason != "LEDGER_BEHIND" || !strings.Contains(p.Detail, "has 100 entries") || !strings.Contains(p.Detail, "has seen 600") ||
		!strings.Contains(p.Help, "ledger recover") {
		t.Errorf("%v", err)
	}
}

// TestRecoverSame: with everything back it is the same history.
func TestRecoverSame(t *testing.T) {
	x := newLost(t)
	s, closed := x.store(t, false)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	if err != nil || r.Epoch != 0 || r.Taken() != 500 || r.Lost() != 0 || r.Start != 100 {
		t.Fatalf("%+v, %v", r, err)
	}
	f := &followed{}
	if err := r.Run(t.Context(), f, silent); err != nil || f.fresh != 500 {
		t.Fatalf("%+v, %v", f, err)
	}
	_, err = ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	var p *problem.Problem
	if !errors.As(err, &p) || p.Reason != "NOTHING_TO_RECOVER" {
		t.Errorf("again: %v", err)
	}
	closed()
	x.recovered(t, ledger.Epoch{Number: 1}, 601) // and that it was recovered
}

// TestRecoverEpoch: what stays lost begins a new epoch, whose genesis names what was
// last seen.
func TestRecoverEpoch(t *testing.T) {
	x := newLost(t)
	s, closed := x.store(t, false)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, ""))
	if err != nil || r.Epoch != 2 || r.Taken() != 0 || r.Lost() != 500 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.Run(t.Context(), &followed{}, silent); err != nil {
		t.Fatal(err)
	}
	raws, err := s.Entries(t.Context(), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	g, err := entry.ParseGenesis(e.Draft)
	if err != nil || g.Origin != origin+"/epoch-2" || string(g.Previous) != string(x.seen) || len(g.Certificates) != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	closed()
	x.recovered(t, ledger.Epoch{Number: 2, Index: 100}, 102)
}

// TestRecoverPart: a copy that is behind what was last seen gives back what it has.
func TestRecoverPart(t *testing.T) {
	x := newLost(t)
	full, closed := x.store(t, false)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(full, x.copy))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), &followed{}, silent); err != nil {
		t.Fatal(err)
	}
	end := run(t, x.open(t, full))
	appendEntries(t, full, 99)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	closed()
	// Now 700 were seen; a database of 1 entry takes 600 from the copy.
	if err := os.Remove(x.db); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(x.lock)
	if err != nil {
		t.Fatal(err)
	}
	x.onlyGenesis(t, seen)
	s, closed := x.store(t, false)
	r, err = ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	if err != nil || r.Epoch != 2 || r.Taken() != 599 || r.Lost() != 100 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.Run(t.Context(), &followed{}, silent); err != nil {
		t.Fatal(err)
	}
	closed()
	x.recovered(t, ledger.Epoch{Number: 2, Index: 600}, 602)
}

// onlyGenesis makes a database that has the copy's first entry alone.
func (x *lost) onlyGenesis(t *testing.T, seen []byte) {
	t.Helper()
	again := newPlace(t)
	s, closed := again.store(t, false)
	vkey, err := ledger.VerifierKey(origin, x.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	f, err := ledger.OpenFolder(x.copy, origin, vkey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.Entry(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storage.RestoreEntry{Raw: raw}}); err != nil {
		t.Fatal(err)
	}
	closed()
	x.db = again.db
	if err := os.WriteFile(x.lock, seen, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRecoverEnded: a recovery that was ended anywhere leaves a server that does not
// start, and goes on.
func TestRecoverEnded(t *testing.T) {
	for _, test := range []struct {
		name string
		from bool
		f    followed
		want ledger.Epoch
		size uint64
	}{
		{"while entries come back", true, followed{endAt: 599}, ledger.Epoch{Number: 1}, 601},
		{"before its end", true, followed{endLast: true}, ledger.Epoch{Number: 1}, 601},
		{"after the genesis", false, followed{endLast: true}, ledger.Epoch{Number: 2, Index: 100}, 102},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newLost(t)
			from := ""
			if test.from {
				from = x.copy
			}
			s, closed := x.store(t, false)
			r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, from))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Run(t.Context(), &test.f, silent); !errors.Is(err, errEnded) {
				t.Fatal(err)
			}
			_, err = ledger.Open(t.Context(), x.config(s))
			var p *problem.Problem
			if !errors.As(err, &p) || p.Reason != "LEDGER_RECOVERING" {
				t.Errorf("opened: %v", err)
			}
			r, err = ledger.PlanRecovery(t.Context(), x.recovery(s, from))
			if err != nil || r.Start != 100 {
				t.Fatalf("%+v, %v", r, err)
			}
			f := &followed{}
			if err := r.Run(t.Context(), f, silent); err != nil {
				t.Fatal(err)
			}
			if test.from && f.fresh+f.there != 500 {
				t.Errorf("%+v", f)
			}
			closed()
			x.recovered(t, test.want, test.size)
		})
	}
}

// TestRecoverRefuses: what cannot be relied on changes nothing.
func TestRecoverRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, x *lost)
		want   string
	}{
		{"an entry changed", func(t *testing.T, x *lost) { x.edit(t, "tile/entries/001", func(b []byte) { b[len(b)-3] ^= 1 }) }, "cannot be used"},
		{"a bundle cut", func(t *testing.T, x *lost) {
			path := filepath.Join(x.copy, "tile", "entries", "001")
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}, "the bundle ends"},
		{"a bundle missing", func(t *testing.T, x *lost) {
			if err := os.Remove(filepath.Join(x.copy, "tile", "entries", "002.p", "88")); err != nil {
				t.Fatal(err)
			}
		}, "entries from 512 on"},
		{"a forged checkpoint", func(t *testing.T, x *lost) { x.edit(t, "checkpoint", func(b []byte) { b[len(b)-5] ^= 1 }) }, "was not signed by this ledger's key"},
		{"no checkpoint", func(t *testing.T, x *lost) {
			if err := os.Remove(filepath.Join(x.copy, "checkpoint")); err != nil {
				t.Fatal(err)
			}
		}, "is no copy of a ledger"},
		{"a forged last-seen file", func(t *testing.T, x *lost) {
			forged := strings.Replace(string(x.seen), "600", "601", 1)
			if err := os.WriteFile(x.lock, []byte(forged), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "last-seen file"},
		{"a database of another history", func(t *testing.T, x *lost) {
			s, closed := x.store(t, false)
			appendEntries(t, s, 1)
			closed()
		}, "one of them is of another history"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newLost(t)
			test.change(t, x)
			s, _ := x.store(t, false)
			before, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line with %q", err, test.want)
			}
			if after, err := s.Head(t.Context()); err != nil || after != before {
				t.Errorf("head %+v, %+v before, %v", after, before, err)
			}
		})
	}
}

func (x *lost) edit(t *testing.T, path string, change func([]byte)) {
	t.Helper()
	path = filepath.Join(x.copy, filepath.FromSlash(path))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEpochsAreVerified: a genesis that opens no epoch rightly is found.
func TestEpochsAreVerified(t *testing.T) {
	x := newLost(t)
	for name, o := range map[string]entry.Origin{
		"nothing was lost":         {Origin: origin + "/epoch-2", Previous: x.signed(t, origin, 100)},
		"another ledger":           {Origin: "other.example/epoch-2", Previous: x.seen},
		"an epoch that was before": {Origin: origin, Previous: x.seen},
		"no checkpoint":            {Origin: origin + "/epoch-2"},
		"a forged checkpoint":      {Origin: origin + "/epoch-2", Previous: []byte(strings.Replace(string(x.seen), "600", "700", 1))},
		"of the wrong epoch":       {Origin: origin + "/epoch-3", Previous: x.seen},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.key = x.key
			s, closed := p.store(t, false)
			end := run(t, p.open(t, s))
			appendEntries(t, s, 99)
			d, err := o.Draft("system:server")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Commit(t.Context(), storage.Unit{storage.AppendEntry{Entry: d}}); err != nil {
				t.Fatal(err)
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			var found []storage.Finding
			if _, err := ledger.Verify(t.Context(), ledger.VerifyConfig{Store: s, VerifierKey: p.vkey(t)}, func(f storage.Finding) { found = append(found, f) }); err != nil {
				t.Fatal(err)
			}
			expect(t, found, storage.Finding{Kind: "entry", Index: 100, Detail: "entry 100 is a genesis, and "})
			closed()
		})
	}
}

// signed is a checkpoint of any size by the ledger's key.
func (x *lost) signed(t *testing.T, origin string, size int) []byte {
	t.Helper()
	p := newPlace(t)
	p.key = x.key
	s, closed := p.store(t, false)
	defer closed()
	end := run(t, p.open(t, s))
	appendEntries(t, s, size-1)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	note, err := os.ReadFile(p.lock)
	if err != nil || !strings.HasPrefix(string(note), fmt.Sprintf("%s\n%d\n", origin, size)) {
		t.Fatalf("%s, %v", note, err)
	}
	return note
}
