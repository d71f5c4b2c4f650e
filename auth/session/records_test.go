package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// TestManySessions: of sessions that there were, a check keeps little.
func TestManySessions(t *testing.T) {
	const many, most = 200_000, 100 // octets for each
	check := CheckRecords()
	sum := sumOf(nil)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range uint64(many) {
		opened := entry.Action{Action: actionOpened, Target: fmt.Sprintf("%032x", i), Detail: detailSum + sum}
		if err := check.Entry(i, entry.Entry{}, opened); err != nil {
			t.Fatal(err)
		}
	}
	if used := int64(heap()) - int64(before); used > many*most {
		t.Errorf("%d octets for %d sessions, at most %d each", used, many, most)
	}
	runtime.KeepAlive(check)
}

// TestCheckRecords has each state of a session's record held against its entries.
func TestCheckRecords(t *testing.T) {
	body := func(at int) []byte {
		put, err := record{Hash: make([]byte, 32), Evidence: make([]byte, 32), Method: "oidc", ID: "a", Expires: time.Unix(int64(at), 0).UTC()}.put("s", 0)
		if err != nil {
			t.Fatal(err)
		}
		return put.Body
	}
	const opened, revoked = "session.opened", "session.revoked"
	type said struct {
		action, target string
		body           []byte
	}
	for name, test := range map[string]struct {
		entries []said
		faulty  int // the entry that is refused; 0: none
		stored  []byte
		settled uint64
		found   bool
	}{
		"opened":                  {entries: []said{{opened, "s", body(1)}}, stored: body(1), settled: 1},
		"ended":                   {entries: []said{{opened, "s", body(1)}}, settled: 1},
		"never opened":            {stored: body(1), found: true},
		"another's opening":       {entries: []said{{opened, "t", body(1)}}, stored: body(1), settled: 1, found: true},
		"changed":                 {entries: []said{{opened, "s", body(1)}}, stored: body(2), settled: 1, found: true},
		"revoked":                 {entries: []said{{opened, "s", body(1)}, {revoked, "s", body(2)}}, stored: body(2), settled: 2},
		"a revocation taken back": {entries: []said{{opened, "s", body(1)}, {revoked, "s", body(2)}}, stored: body(1), settled: 2, found: true},
		"revoked meanwhile":       {entries: []said{{opened, "s", body(1)}, {revoked, "s", body(2)}}, stored: body(1), settled: 1},
		"changed meanwhile":       {entries: []said{{opened, "s", body(1)}, {revoked, "s", body(2)}}, stored: body(3), settled: 1, found: true},
		"opened twice":            {entries: []said{{opened, "s", body(1)}, {opened, "s", body(1)}}, faulty: 2, stored: body(1), settled: 2},
		"revoked and not opened":  {entries: []said{{revoked, "s", body(1)}}, faulty: 1, settled: 1},
	} {
		check := CheckRecords()
		for i, each := range test.entries {
			a := entry.Action{Action: each.action, Target: each.target, Detail: detailSum + sumOf(each.body)}
			if err := check.Entry(uint64(i), entry.Entry{}, a); (err != nil) != (test.faulty == i+1) {
				t.Errorf("%s: entry %d: %v", name, i, err)
			}
		}
		if test.stored != nil {
			r, err := parseRecord(storage.Record{ID: "s", Body: test.stored})
			if err != nil {
				t.Fatal(err)
			}
			check.Record(collection, storage.Record{ID: "s", Body: test.stored, Expires: r.Expires.Add(keep)})
		}
		if found := check.Findings(test.settled); (len(found) > 0) != test.found {
			t.Errorf("%s: %v", name, found)
		}
	}
}
