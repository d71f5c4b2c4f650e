package ledger_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

func TestGenesis(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	l := p.open(t, s)
	raws, err := s.Entries(t.Context(), 0, 10)
	if err != nil || len(raws) != 1 {
		t.Fatalf("%d entries, %v", len(raws), err)
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	g, err := entry.ParseGenesis(e.Draft)
	if err != nil || g.Origin != origin || len(g.Certificates) != 1 || g.Certificates[0] != [32]byte{1} || len(g.Previous) != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	cp, err := l.Checkpoint(t.Context())
	if err != nil || cp.Size != 1 || cp.Root != tlog.RecordHash(raws[0]) || cp.Time.IsZero() {
		t.Errorf("checkpoint %+v, %v", cp, err)
	}
	// An outsider reads it with note and a few lines of C2SP tlog-checkpoint.
	verifier, err := note.NewVerifier(l.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(cp.Note, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if want := origin + "\n1\n" + tlog.RecordHash(raws[0]).String() + "\n"; n.Text != want {
		t.Errorf("checkpoint is %q, want %q", n.Text, want)
	}
	if lock, err := os.ReadFile(p.lock); err != nil || !bytes.Equal(lock, cp.Note) {
		t.Errorf("last-seen file: %q, %v", lock, err)
	}
}

func TestLoop(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	l := p.open(t, s)
	stop := run(t, l)
	appendEntries(t, s, 700)
	if err := l.Wait(t.Context(), 700); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.Size != 701 || st.Signatures < 2 || st.Failures != 0 || l.Healthy() != nil {
		t.Errorf("%+v, %v", st, l.Healthy())
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	before, _ := l.Checkpoint(t.Context())
	closed()

	s, _ = p.store(t, false)
	l = p.open(t, s)
	after, err := l.Checkpoint(t.Context())
	if err != nil || !bytes.Equal(before.Note, after.Note) || !before.Time.Equal(after.Time) || l.Stats().Signatures != 0 {
		t.Errorf("opened again: %+v, before %+v, %v", after, before, err)
	}
}

// TestLastCheckpoint: what was appended just before the end is covered.
func TestLastCheckpoint(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	l := p.open(t, s)
	appendEntries(t, s, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if cp, _ := l.Checkpoint(t.Context()); cp.Size != 4 {
		t.Errorf("the last checkpoint covers %d entries", cp.Size)
	}
}

func TestWaitEnds(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	l := p.open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx, 1); problem.KindOf(err) != problem.Unavailable || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := l.Wait(ctx, 0); err != nil {
		t.Error(err)
	}
}

// TestLockCannotBeWritten: nothing is published, and it shows; once the file
// can be written, what was stored is published.
func TestLockCannotBeWritten(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	l := p.open(t, s)
	appendEntries(t, s, 3)
	dir := filepath.Dir(p.lock)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err == nil || l.Healthy() == nil {
		t.Errorf("%v, %v", err, l.Healthy())
	}
	if cp, _ := l.Checkpoint(t.Context()); cp.Size != 1 || l.Stats().Failures != 1 {
		t.Errorf("published %d, %+v", cp.Size, l.Stats())
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(ctx); err != nil || l.Healthy() != nil {
		t.Errorf("%v, %v", err, l.Healthy())
	}
	if cp, _ := l.Checkpoint(t.Context()); cp.Size != 4 || l.Stats().Signatures != 2 {
		t.Errorf("published %d, %+v", cp.Size, l.Stats())
	}
	left, err := filepath.Glob(filepath.Join(dir, ".ledger.lock*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestOpenRefuses: a database that is not the one which the last-seen file has
// seen.
func TestOpenRefuses(t *testing.T) {
	other := newPlace(t)
	tests := []struct {
		name   string
		change func(t *testing.T, p *place, old []byte, c *ledger.Config)
		want   []string
	}{
		{"older database", func(t *testing.T, p *place, old []byte, _ *ledger.Config) {
			write(t, p.db, old)
		}, []string{"the ledger has 11 entries", "has seen 31", "20 entries are missing", "last-seen file"}},
		{"older database that went on", func(t *testing.T, p *place, old []byte, _ *ledger.Config) {
			write(t, p.db, old)
			s, closed := p.store(t, false)
			appendEntries(t, s, 50)
			closed()
		}, []string{"first 31 entries", "another one"}},
		{"empty database", func(t *testing.T, p *place, _ []byte, _ *ledger.Config) {
			empty := newPlace(t)
			write(t, p.db, read(t, empty.db))
		}, []string{"the ledger has 0 entries", "has seen 31"}},
		{"another key", func(_ *testing.T, _ *place, _ []byte, c *ledger.Config) {
			c.Signer = other.key
		}, []string{"last-seen file", "does not hold"}},
		{"another key and no last-seen file", func(t *testing.T, p *place, _ []byte, c *ledger.Config) {
			c.Signer = other.key
			remove(t, p.lock)
		}, []string{"stored checkpoint does not hold"}},
		{"another origin", func(_ *testing.T, _ *place, _ []byte, c *ledger.Config) {
			c.Origin = "other.example/ledger"
		}, []string{"does not hold"}},
		{"garbage as last-seen file", func(t *testing.T, p *place, _ []byte, _ *ledger.Config) {
			write(t, p.lock, []byte("31"))
		}, []string{"last-seen file", "does not hold"}},
		{"a forged checkpoint", func(t *testing.T, p *place, _ []byte, _ *ledger.Config) {
			write(t, p.lock, bytes.Replace(read(t, p.lock), []byte("\n31\n"), []byte("\n30\n"), 1))
		}, []string{"last-seen file", "does not hold"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			s, closed := p.store(t, false)
			p.open(t, s)
			appendEntries(t, s, 10)
			closed()
			old := read(t, p.db)
			s, closed = p.store(t, false)
			appendEntries(t, s, 20)
			l := p.open(t, s)
			if cp, _ := l.Checkpoint(t.Context()); cp.Size != 31 {
				t.Fatalf("checkpoint of %d", cp.Size)
			}
			closed()
			c := p.config(nil)
			test.change(t, p, old, &c)
			s, _ = p.store(t, false)
			c.Store = s
			_, err := ledger.Open(t.Context(), c)
			if problem.KindOf(err) != problem.FailedPrecondition {
				t.Fatalf("opened, or failed otherwise: %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// TestOpenWithoutLock: a server may lose the file; the past is re-read then.
// TestOpenWithoutLock: without the last-seen file a ledger opens only if that is
// accepted, which it then says itself, or warned of.
func TestOpenWithoutLock(t *testing.T) {
	for _, test := range []struct {
		missing ledger.MissingLock
		size    uint64 // of the ledger afterwards; 0: it does not open
	}{{ledger.RefuseMissing, 0}, {ledger.AcceptMissing, 7}, {ledger.WarnMissing, 6}} {
		p := newPlace(t)
		s, closed := p.store(t, false)
		p.open(t, s)
		appendEntries(t, s, 5)
		closed()
		remove(t, p.lock)
		s, _ = p.store(t, false)
		config := p.config(s)
		config.MissingLock = test.missing
		var log bytes.Buffer
		config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		l, err := ledger.Open(t.Context(), config)
		if test.size == 0 {
			var refused *problem.Problem
			if !errors.As(err, &refused) || refused.Code() != "LEDGER_LOCK_MISSING" || !strings.Contains(refused.Help, "--accept-missing-lock") ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if head, err := s.Head(t.Context()); err != nil || head.Size != 6 {
				t.Errorf("%d entries, %v", head.Size, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if cp, _ := l.Checkpoint(t.Context()); cp.Size != test.size || !bytes.Equal(cp.Note, read(t, p.lock)) {
			t.Errorf("checkpoint of %d, want %d", cp.Size, test.size)
		}
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("no warning: %q", log.String())
		}
		if test.missing == ledger.AcceptMissing {
			acceptedIn(t, s, 6)
			if _, err := ledger.Open(t.Context(), p.config(s)); err != nil {
				t.Errorf("the next start: %v", err)
			}
		}
	}
}

// acceptedIn wants the entry that says that the file was missing.
func acceptedIn(t *testing.T, s storage.LedgerReader, index uint64) {
	t.Helper()
	e, err := ledger.Proven(t.Context(), s, index)
	if err != nil {
		t.Fatal(err)
	}
	a, err := entry.ParseAdminAction(e.Draft)
	if err != nil || a.Action != "ledger.lock-missing" || e.Actor != "system:server" {
		t.Errorf("%+v by %s, %v", a, e.Actor, err)
	}
}

// TestFirstStartKilled: a first start that ended between the genesis and the
// last-seen file is no loss.
func TestFirstStartKilled(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	p.open(t, s)
	remove(t, p.lock)
	if cp, _ := p.open(t, s).Checkpoint(t.Context()); cp.Size != 1 {
		t.Errorf("checkpoint of %d", cp.Size)
	}
	verify := func() (found []storage.Finding) {
		c := ledger.VerifyConfig{Store: s, VerifierKey: p.vkey(t), Lock: p.lock}
		if _, err := ledger.Verify(t.Context(), c, func(f storage.Finding) { found = append(found, f) }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	remove(t, p.lock)
	if found := verify(); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	appendEntries(t, s, 1)
	if found := verify(); len(found) != 1 || found[0].Kind != "checkpoint" || found[0].Subject != p.lock {
		t.Errorf("%+v", found)
	}
}

// TestTamperedEntryIsNotSigned: an entry that changed on disk before its first
// checkpoint stops the loop.
func TestTamperedEntryIsNotSigned(t *testing.T) {
	for bucket, at := range map[string]int{"entry": 30, "tile": 100 * 32} {
		t.Run(bucket, func(t *testing.T) {
			p := newPlace(t)
			s, closed := p.store(t, false)
			p.open(t, s)
			appendEntries(t, s, 400)
			closed()
			p.tamper(t, func(tx *bbolt.Tx) error { return flip(tx, bucket, first(tx, bucket, 1), at) })
			s, _ = p.store(t, false)
			_, err := ledger.Open(t.Context(), p.config(s))
			if err == nil || !strings.Contains(err.Error(), "not what was written") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestReadOnlyStore: the log of a store that takes no more writes shows what
// was published.
func TestReadOnlyStore(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	appendEntries(t, s, 2)
	closed()
	s, _ = p.store(t, true)
	l := p.open(t, s)
	if cp, _ := l.Checkpoint(t.Context()); cp.Size != 1 || !errors.Is(l.Healthy(), storage.ErrReadOnly) {
		t.Errorf("checkpoint of %d, %v", cp.Size, l.Healthy())
	}
}

func TestConfigRefuses(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ledger.Config){
		"no lock":             func(c *ledger.Config) { c.Lock = "" },
		"no key":              func(c *ledger.Config) { c.Signer = nil },
		"ECDSA":               func(c *ledger.Config) { c.Signer = ec },
		"no origin":           func(c *ledger.Config) { c.Origin = "" },
		"origin with a space": func(c *ledger.Config) { c.Origin = "a b" },
		"origin with a plus":  func(c *ledger.Config) { c.Origin = "a+b" },
		"long origin":         func(c *ledger.Config) { c.Origin = strings.Repeat("a", 256) },
		"no folder":           func(c *ledger.Config) { c.Lock = filepath.Join(t.TempDir(), "no", "ledger.lock") },
	} {
		c := p.config(s)
		change(&c)
		if _, err := ledger.Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// first is the key number n of a bucket.
func first(tx *bbolt.Tx, bucket string, n int) []byte {
	c := tx.Bucket([]byte(bucket)).Cursor()
	k, _ := c.First()
	for ; n > 0 && k != nil; n-- {
		if next, _ := c.Next(); next != nil {
			k = next
		}
	}
	return bytes.Clone(k)
}

// flip changes one bit of a value.
func flip(tx *bbolt.Tx, bucket string, key []byte, at int) error {
	b := tx.Bucket([]byte(bucket))
	value := bytes.Clone(b.Get(key))
	value[at%len(value)] ^= 1
	return b.Put(key, value)
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestTwoServers: of two logs over one store each takes up what the other has
// signed, and keeps its own last-seen file.
func TestTwoServers(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	one := p.open(t, s)
	c := p.config(s)
	c.Lock = filepath.Join(t.TempDir(), "ledger.lock")
	two, err := ledger.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	appendEntries(t, s, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, l := range []*ledger.Log{one, two} {
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := one.Checkpoint(ctx)
	b, _ := two.Checkpoint(ctx)
	if a.Size != 6 || !bytes.Equal(a.Note, b.Note) || two.Stats().Signatures != 0 || !bytes.Equal(read(t, p.lock), read(t, c.Lock)) {
		t.Errorf("%+v and %+v, %+v", a, b, two.Stats())
	}
	stops := []func() error{run(t, one), run(t, two)}
	for i := range uint64(20) {
		appendEntries(t, s, 1)
		if err := errors.Join(one.Wait(t.Context(), 6+i), two.Wait(t.Context(), 6+i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	if st := one.Stats().Failures + two.Stats().Failures; st != 0 {
		t.Errorf("%d failures: %v, %v", st, one.Healthy(), two.Healthy())
	}
}
