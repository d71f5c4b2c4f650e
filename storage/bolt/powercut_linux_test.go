package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/bolt/diskfault"
	"github.com/certwright/certwright/storage/storagetest"
)

// thorough multiplies what the tests of crashes do: by 10 with
// CERTWRIGHT_CRASH_ROUNDS=200, which is what make crash sets.
func thorough(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CERTWRIGHT_CRASH_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CERTWRIGHT_CRASH_ROUNDS=%q is not a number of rounds", text)
	}
	return max(1, n/20)
}

// TestPowerCut records all that a process writes and syncs while it makes a
// database and issues with 8 callers and a reader; then it cuts the power between
// any two of these calls, with what was not synced lost, applied or torn. Whatever
// is left opens, is sound, and has all that anybody was answered.
func TestPowerCut(t *testing.T) {
	if path := os.Getenv(child); path != "" {
		powered(t, path, 6*thorough(t))
		return
	}
	r := record(t, nil)
	seen := map[string]int{}
	for _, m := range r.Marks {
		word, _, _ := strings.Cut(m.Path, " ")
		seen[word]++
	}
	if seen["issued"] < 48 || seen["read"] == 0 {
		t.Fatalf("said: %v", seen)
	}
	states, faults := cutPower(t, r, 3)
	for _, f := range faults {
		t.Error(f)
	}
	t.Logf("%d states of %d calls, %d certificates", states, len(r.Calls), seen["issued"])
}

// TestPowerCutNegativeControl: the same judgement must catch a disk that says to
// have synced and has not, always or every other time (the pages of a transaction
// but not its root, which bbolt syncs after them). It judges in a child: the
// damage can also be the end of who reads it.
func TestPowerCutNegativeControl(t *testing.T) {
	path := os.Getenv(child)
	if every, ok := strings.CutPrefix(path, "every "); ok {
		judgeLies(t, every)
		return
	}
	if path != "" {
		powered(t, path, 6)
		return
	}
	for name, every := range map[string]string{"no sync": "every 1", "no sync of the pages": "every 2"} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, "TestPowerCutNegativeControl", every)
			cmd.Stderr = nil
			out, err := cmd.CombinedOutput()
			if !bytes.Contains(out, []byte("caught:")) && !bytes.Contains(out, []byte("fatal error: ")) {
				t.Fatalf("not caught: the test of power cuts proves nothing (%v)\n%.2000s", err, out)
			}
			t.Logf("%.300s", out)
		})
	}
}

// judgeLies tells the first fault that a disk which lies leads to.
func judgeLies(t *testing.T, text string) {
	every, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	r := record(t, func(c diskfault.Call) diskfault.Verdict {
		if c.Kind != diskfault.Sync || c.Folder || c.Path != "ledger.db" {
			return diskfault.Verdict{}
		}
		n++
		return diskfault.Verdict{Pretend: n%every == 0}
	})
	if _, faults := cutPower(t, r, 3); len(faults) > 0 {
		fmt.Println("caught:", faults[0])
	}
}

// record runs the test's child behind a disk.
func record(t *testing.T, judge func(diskfault.Call) diskfault.Verdict) diskfault.Recording {
	t.Helper()
	d := &diskfault.Disk{Folder: t.TempDir(), Record: true, Judge: judge}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := command(t, name, filepath.Join(d.Folder, "ledger.db"))
	if err := d.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("child: %v", err)
	}
	r, err := d.Recording()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// powered makes a database and issues; it says what it is answered, and what a
// reader sees that comes between.
func powered(t *testing.T, path string, each int) {
	folder := filepath.Dir(path)
	say := func(word string, key string) {
		if err := diskfault.Say(folder, word+" "+key); err != nil {
			t.Error(err)
		}
	}
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	say("created", "-")
	s := open(t, bolt.Config{Path: path})
	issuer := storagetest.NewIssuer(t)
	var wg, reader sync.WaitGroup
	asked := make(chan identity.Serial, 1000)
	reader.Go(func() {
		for serial := range asked {
			for { // until it is issued
				if c, err := s.BySerial(context.Background(), issuer.ID, serial); err == nil && c.State == storage.Issued {
					say("read", issuer.ID.String()+"-"+serial.String())
					break
				}
			}
		}
	})
	for caller := range 8 {
		wg.Go(func() {
			for range each {
				i := issuer.Issue(t, storagetest.Spec{})
				key := issuer.ID.String() + "-" + i.Reserve.Serial.String()
				if _, err := s.Commit(context.Background(), storage.Unit{i.Reserve}); err != nil {
					t.Error(err)
					return
				}
				say("reserved", key)
				if caller == 0 {
					asked <- i.Reserve.Serial
				}
				if _, err := s.Commit(context.Background(), storage.Unit{i.Complete}); err != nil {
					t.Error(err)
					return
				}
				say("issued", key)
			}
		})
	}
	wg.Wait()
	close(asked)
	reader.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// cutPower judges about 300 states of a recording (times the factor): all lost, all
// applied, and some random ones at each of as many moments as that allows.
func cutPower(t *testing.T, r diskfault.Recording, random int) (states int, faults []string) {
	t.Helper()
	const seed = 20261128
	rng := rand.New(rand.NewPCG(seed, seed))
	scratch := scratch(t)
	most := 300 * thorough(t) // fates, of some moments
	err := r.Cuts(func(c diskfault.Cut) error {
		if rng.IntN(len(r.Calls)*(2+random)) >= most {
			return nil
		}
		fates := []diskfault.Fate{diskfault.Lost()}
		if c.Pending() {
			fates = append(fates, diskfault.Applied())
			for range random {
				fates = append(fates, diskfault.Torn(rng))
			}
		}
		for n, fate := range fates {
			folder := filepath.Join(scratch, strconv.Itoa(states))
			states++
			if err := c.Build(folder, fate); err != nil {
				return err
			}
			if fault := judge(t, filepath.Join(folder, "ledger.db"), answeredBefore(r, c.Count)); fault != "" {
				faults = append(faults, fmt.Sprintf("power cut before call %d, fate %d: %s", c.Count, n, fault))
				return errEnough
			}
			if err := os.RemoveAll(folder); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return states, faults
}

// errEnough ends a judgement at its first fault: the next may be the end of us.
var errEnough = errors.New("enough")

// answeredBefore is what was said before a call: to each certificate its state.
func answeredBefore(r diskfault.Recording, count int) map[string]storage.State {
	out := map[string]storage.State{}
	for _, m := range r.Marks {
		word, key, _ := strings.Cut(m.Path, " ")
		switch {
		case m.N >= count:
			return out
		case word == "issued" || word == "read":
			out[key] = storage.Issued
		case out[key] != storage.Issued:
			out[key] = storage.Reserved
		}
	}
	return out
}

// judge opens what a power cut left, and says what is wrong with it.
func judge(t *testing.T, path string, answered map[string]storage.State) string {
	t.Helper()
	_, created := answered["-"]
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !created {
		return ""
	}
	if fault := judgeStore(t, path, answered); fault != "" {
		return fault
	}
	if err := checkPages(path); err != nil {
		return fmt.Sprintf("pages: %v", err)
	}
	return ""
}

// judgeStore is judge without bbolt's own check, which dies of a file that has none
// of its faults found before.
func judgeStore(t *testing.T, path string, answered map[string]storage.State) string {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		return fmt.Sprintf("it does not open: %v", err)
	}
	defer s.Close()
	have, err := states(t.Context(), s)
	if err != nil {
		return err.Error()
	}
	for key, state := range answered {
		if got, ok := have[key]; key != "-" && (!ok || state == storage.Issued && got != storage.Issued) {
			return fmt.Sprintf("%s was answered as %s and is not there so", key, state)
		}
	}
	var found []string
	if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { found = append(found, fmt.Sprintf("%+v", f)) }); err != nil {
		return err.Error()
	}
	if len(found) > 0 {
		return fmt.Sprintf("%d findings, such as %s", len(found), found[0])
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("after")}); err != nil {
		return fmt.Sprintf("a write after it: %v", err)
	}
	return ""
}

// states are all certificates of a store.
func states(ctx context.Context, s storage.CertificateReader) (map[string]storage.State, error) {
	have := map[string]storage.State{}
	q := storage.Query{Order: storage.ByIndex, Limit: 1000}
	for {
		page, err := s.Certificates(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, c := range page.Certificates {
			have[c.Issuer.String()+"-"+c.Serial.String()] = c.State
		}
		if q.After = page.Next; q.After == nil {
			return have, nil
		}
	}
}

// scratch is a folder for many states, in memory if there is one.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "certwright-") //nolint:usetesting // not on the disk: thousands of databases are made and synced
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// checkPages is bbolt's own check.
func checkPages(path string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		var all []error
		for e := range tx.Check() {
			all = append(all, e)
		}
		return errors.Join(all...)
	})
}

// TestFaultAtEachCall lets the k-th call that a process makes on its database
// fail, for many k: once (EIO) or from then on (ENOSPC).
func TestFaultAtEachCall(t *testing.T) {
	if path := os.Getenv(child); path != "" {
		failingSoon(t, path)
		return
	}
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		for n := range 8 * thorough(t) {
			k := n * n / 3 // a commit is about 15 calls
			t.Run(fmt.Sprintf("%s/%d", map[unix.Errno]string{unix.EIO: "EIO", unix.ENOSPC: "ENOSPC"}[errno], k), func(t *testing.T) {
				path := create(t)
				d := &diskfault.Disk{Folder: filepath.Dir(path), Record: true}
				changes, failed := 0, ""
				d.Judge = func(c diskfault.Call) diskfault.Verdict {
					if !c.Changes() {
						return diskfault.Verdict{}
					}
					changes++
					if changes-1 == k || errno == unix.ENOSPC && changes-1 > k && c.Kind == diskfault.Write {
						if failed == "" {
							failed = c.String()
						}
						return diskfault.Verdict{Errno: errno}
					}
					return diskfault.Verdict{}
				}
				name, _, _ := strings.Cut(t.Name(), "/")
				cmd := command(t, name, path)
				if err := d.Start(cmd); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Fatalf("child: %v (%s)", err, failed)
				}
				r, err := d.Recording()
				if err != nil {
					t.Fatal(err)
				}
				if failed == "" {
					t.Fatal("no call failed")
				}
				if fault := judge(t, path, answeredBefore(r, r.Count)); fault != "" {
					t.Errorf("%s failed, then: %s", failed, fault)
				}
				// The same if the power is cut while it stands still.
				last := ""
				if err := r.Cuts(func(c diskfault.Cut) error {
					if c.Count < r.Count {
						return nil
					}
					folder := t.TempDir()
					last = filepath.Join(folder, "ledger.db")
					return c.Build(folder, diskfault.Lost())
				}); err != nil {
					t.Fatal(err)
				}
				if fault := judge(t, last, answeredBefore(r, r.Count)); fault != "" {
					t.Errorf("%s failed, and the power was cut: %s", failed, fault)
				}
			})
		}
	}
}

// failingSoon issues until a write fails, and looks at what the store does then:
// it reads what was acknowledged, nothing else, and writes no more.
func failingSoon(t *testing.T, path string) {
	folder := filepath.Dir(path)
	s, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil { // what is there may not be on the disk: it is not served
		if problem.KindOf(err) != problem.Unavailable {
			t.Errorf("refused: %v", err)
		}
		return
	}
	issuer := storagetest.NewIssuer(t)
	var mu sync.Mutex
	acknowledged := map[string]storage.State{}
	acknowledge := func(word, key string, state storage.State) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged[key] = state
		if err := diskfault.Say(folder, word+" "+key); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				i := issuer.Issue(t, storagetest.Spec{Owner: strings.Repeat("x", 200)})
				key := issuer.ID.String() + "-" + i.Reserve.Serial.String()
				_, err := s.Commit(context.Background(), storage.Unit{i.Reserve})
				if err == nil {
					acknowledge("reserved", key, storage.Reserved)
					if _, err = s.Commit(context.Background(), storage.Unit{i.Complete}); err == nil {
						acknowledge("issued", key, storage.Issued)
					}
				}
				if err != nil {
					if !errors.Is(err, storage.ErrUnknownOutcome) && !errors.Is(err, storage.ErrReadOnly) {
						t.Errorf("the failed write: %v", err)
					}
					return
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("more")}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("the write after it: %v", err)
	}
	have, err := states(t.Context(), s)
	if err != nil {
		t.Error(err)
	}
	for key, state := range have {
		if was, ok := acknowledged[key]; !ok || was != state {
			t.Errorf("%s is %s: nobody was told", key, state)
		}
		delete(acknowledged, key)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d that were acknowledged are not read", len(acknowledged))
	}
	var found []storage.Finding
	if err := s.Scrub(t.Context(), nil, func(f storage.Finding) { found = append(found, f) }); err != nil || len(found) > 0 {
		t.Errorf("scrub: %v %+v", err, slices.Compact(found))
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
