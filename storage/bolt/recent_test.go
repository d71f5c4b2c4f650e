package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/certwright/certwright/storage"
)

// TestRecordsAsCommitted: while records change, no reader sees an older version than
// one that was committed before it asked, nor a body of another version; and what it
// does with a body is its own business.
func TestRecordsAsCommitted(t *testing.T) {
	const ids, rounds = 3, 60
	s := newStore(t, Config{Linger: -1})
	var committed [ids]atomic.Uint64
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range ids {
		id := fmt.Sprint("id", i)
		writers.Go(func() {
			for v := uint64(1); v <= rounds; v++ {
				put := storage.PutRecord{Collection: "c", ID: id, IfVersion: v - 1, Body: binary.BigEndian.AppendUint64(nil, v)}
				if _, err := s.Commit(t.Context(), storage.Unit{put}); err != nil {
					t.Error(err)
					return
				}
				committed[i].Store(v)
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				least := committed[i].Load()
				r, err := s.Record(t.Context(), "c", id)
				if errors.Is(err, storage.ErrNotFound) && least == 0 {
					continue
				}
				if err != nil || r.Version < least || binary.BigEndian.Uint64(r.Body) != r.Version {
					t.Errorf("%s: %+v (%v) after version %d was committed", id, r, err, least)
					return
				}
				clear(r.Body)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	for i := range ids {
		id := fmt.Sprint("id", i)
		if _, err := s.Commit(t.Context(), storage.Unit{storage.DeleteRecord{Collection: "c", ID: id, IfVersion: rounds}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Record(t.Context(), "c", id); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s after it was deleted: %v", id, err)
		}
	}
}

// TestRecordsOfEverySize: more records than are held, and longer ones, are read as
// well; none after Close.
func TestRecordsOfEverySize(t *testing.T) {
	s := newStore(t, Config{})
	body := func(i int) []byte { return []byte(strings.Repeat(fmt.Sprint(i), 1+i%3*2000)) }
	for n := 0; n < 3000; n += 1000 {
		var unit storage.Unit
		for i := n; i < n+1000; i++ {
			unit = append(unit, storage.PutRecord{Collection: "c", ID: fmt.Sprint(i), Body: body(i)})
		}
		if _, err := s.Commit(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for i := range 3000 {
			r, err := s.Record(t.Context(), "c", fmt.Sprint(i))
			if err != nil || string(r.Body) != string(body(i)) || r.Version != 1 {
				t.Fatalf("record %d: version %d, %d octets (%v)", i, r.Version, len(r.Body), err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Record(t.Context(), "c", "2999"); err == nil {
		t.Errorf("after Close: %+v", r)
	}
}
