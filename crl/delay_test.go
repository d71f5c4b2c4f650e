package crl

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/identity"
)

// TestDelay: a list says a revocation exactly its delay after the first that it does
// not say yet, however many follow, and not before.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *testConfig) { c.shards, c.RebuildDelay = 1, 5*time.Second })
		stop := w.run(t)
		synctest.Wait()
		before := w.Stats().Built
		first := w.issue(t)
		w.revoke(t, first, identity.Superseded)
		for range 4 { // one a second: they do not put it off
			<-time.After(time.Second)
			w.revoke(t, w.issue(t), identity.Superseded)
		}
		<-time.After(time.Second - time.Nanosecond)
		synctest.Wait()
		if n := w.Stats().Built - before; n != 0 {
			t.Errorf("%d lists before the delay is over", n)
		}
		<-time.After(time.Nanosecond)
		synctest.Wait()
		for _, path := range []string{shardPath(0), "/crl/issuing.crl"} {
			if n := len(w.fetch(t, path).RevokedCertificateEntries); n != 5 {
				t.Errorf("%s: %d entries of 5", path, n)
			}
		}
		if n := w.Stats().Built - before; n != 2 {
			t.Errorf("%d lists for two", n)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := w.Stats().Built - before; n != 2 {
			t.Errorf("%d lists, and nothing has happened", n)
		}
		stop()
		_ = w.store.Close()
	})
}

// TestRestore: a list that is made over a restored backup has a greater number than
// any that was made after the backup.
func TestRestore(t *testing.T) {
	w := newWorld(t, nil)
	w.publishAll(t)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	w.open(t, nil)
	for range 3 {
		w.publishAll(t)
	}
	last := w.Lists()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(t, nil)
	if again := w.Lists(); again[0].Number >= last[0].Number {
		t.Fatal("the backup was not restored")
	}
	w.publishAll(t)
	for i, l := range w.Lists() {
		if l.Number <= last[i].Number {
			t.Errorf("list %s: number %d, before the restore %d", l.Shard, l.Number, last[i].Number)
		}
	}
}
