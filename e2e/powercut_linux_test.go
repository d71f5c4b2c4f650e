package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/certwright/certwright/ledger"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/bolt/diskfault"
)

// delivery is a certificate that a client received, and how many calls the disk had
// seen by then.
type delivery struct {
	fingerprint string
	count       int
}

// TestPowerCut records what a server under load writes and syncs, its database and
// its last-seen file, and cuts the power between any two of these calls. Whatever
// is left verifies, the last-seen file included, and has all that was delivered;
// the server starts from a sample of the states.
func TestPowerCut(t *testing.T) {
	s := newServer(t)
	s.start()
	s.stop()
	states, starts := 300*rounds(t)/20, 3*rounds(t)/20
	r, delivered := s.recordLoad(100)
	rng := rand.New(rand.NewPCG(5, 6))
	n, started := 0, 0
	if err := s.visitCuts(r, states, rng, func(folder string, c diskfault.Cut) error {
		n++
		if err := verifyLeft(t, folder, delivered, c.Count); err != nil {
			return err
		}
		if started < starts && rng.IntN(states/starts) == 0 {
			started++
			return s.startsFrom(folder)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states of %d calls, %d certificates; the server started from %d", n, len(r.Calls), len(delivered), started)
}

// TestPowerCutNegativeControl runs the same judgement over a binary that delivers
// before the intent is durable: it must be caught.
func TestPowerCutNegativeControl(t *testing.T) {
	wrong, err := build(t.TempDir(), "certwright", "negativecontrol")
	check(t, err)
	s := newServer(t)
	s.start()
	s.stop()
	s.bin = wrong
	r, delivered := s.recordLoad(100)
	err = s.visitCuts(r, 300, rand.New(rand.NewPCG(5, 6)), func(folder string, c diskfault.Cut) error {
		return verifyLeft(t, folder, delivered, c.Count)
	})
	if err == nil {
		t.Fatal("not caught: the test of power cuts proves nothing")
	}
	t.Logf("caught: %v", err)
}

// recordLoad runs the server behind a disk while 16 callers get some certificates
// each, and ends it in the ordinary way.
func (s *server) recordLoad(most int) (diskfault.Recording, []delivery) {
	s.t.Helper()
	d := &diskfault.Disk{Folder: s.data, Record: true}
	s.startBehind(d)
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	var mu sync.Mutex
	var delivered []delivery
	var callers sync.WaitGroup
	for n := range 16 {
		csr := csrPEM(s.t, newKey(s.t), fmt.Sprintf("w%d.internal", n))
		callers.Go(func() {
			for range most / 16 {
				c, err := client.SignCertificate(context.Background(), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
				count := d.Count()
				if err != nil {
					s.t.Error(err)
					return
				}
				mu.Lock()
				delivered = append(delivered, delivery{fingerprint(c.Pem), count})
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	s.stop()
	r, err := d.Recording()
	check(s.t, err)
	return r, delivered
}

// visitCuts builds about so many states of a recording: at each moment what is left
// if nothing or all that was not synced arrives, or something.
func (s *server) visitCuts(r diskfault.Recording, most int, rng *rand.Rand, visit func(folder string, c diskfault.Cut) error) error {
	s.t.Helper()
	scratch, err := os.MkdirTemp("/dev/shm", "cw-") // in memory: hundreds of databases are made
	if err != nil {
		scratch = s.t.TempDir()
	}
	defer os.RemoveAll(scratch)
	n := 0
	return r.Cuts(func(c diskfault.Cut) error {
		for name, fate := range map[string]diskfault.Fate{"lost": diskfault.Lost(), "applied": diskfault.Applied(), "torn": diskfault.Torn(rng)} {
			if rng.IntN(3*len(r.Calls)+3) >= most {
				continue
			}
			n++
			folder := filepath.Join(scratch, strconv.Itoa(n))
			if err := c.Build(folder, fate); err != nil {
				return err
			}
			if err := visit(folder, c); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := os.RemoveAll(folder); err != nil {
				return err
			}
		}
		return nil
	})
}

// verifyLeft verifies the ledger that a power cut left, and looks for what had been
// delivered.
func verifyLeft(t *testing.T, folder string, delivered []delivery, count int) error {
	t.Helper()
	ctx := context.Background()
	store, err := bolt.Open(ctx, bolt.Config{Path: filepath.Join(folder, "ledger.db"), ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close()
	var found []error
	if _, err := ledger.Verify(ctx, ledger.VerifyConfig{Store: store, Lock: filepath.Join(folder, "lock")}, func(f storage.Finding) {
		found = append(found, fmt.Errorf("finding %+v", f))
	}); err != nil {
		return err
	}
	issued := map[string]bool{}
	for q := (storage.Query{Order: storage.ByIndex, Limit: 1000}); ; {
		page, err := store.Certificates(ctx, q)
		if err != nil {
			return err
		}
		for _, c := range page.Certificates {
			issued[fmt.Sprintf("%x", c.Fingerprint)] = c.State == storage.Issued
		}
		if q.After = page.Next; q.After == nil {
			break
		}
	}
	for _, d := range delivered {
		if d.count <= count && !issued[d.fingerprint] {
			found = append(found, fmt.Errorf("the certificate %s was delivered and is not there", d.fingerprint))
		}
	}
	return errors.Join(found...)
}

// startsFrom starts the server from a folder, and has it issue.
func (s *server) startsFrom(folder string) error {
	again := &server{t: s.t, bin: s.bin, data: folder}
	again.freeAddrs()
	again.start()
	defer again.stop()
	if r := again.run(s.t.TempDir(), "cert", "issue", "after.internal"); r.code != 0 {
		return fmt.Errorf("issue after it: exit %d: %s", r.code, r.stderr)
	}
	return nil
}

// TestPowerCutFirstStart cuts the power while a server makes its data folder: the
// next start goes on, or makes another.
func TestPowerCutFirstStart(t *testing.T) {
	s := newServer(t)
	d := &diskfault.Disk{Folder: filepath.Dir(s.data), Record: true}
	s.startBehind(d)
	s.stop()
	r, err := d.Recording()
	check(t, err)
	rng := rand.New(rand.NewPCG(7, 8))
	n := 0
	if err := s.visitCuts(r, 10*rounds(t)/20, rng, func(folder string, _ diskfault.Cut) error {
		n++
		return s.startsFrom(filepath.Join(folder, "data"))
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d starts, from states of %d calls", n, len(r.Calls))
}
