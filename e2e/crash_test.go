package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const (
	crashCallers    = 64
	crashDeliveries = 100
)

// rounds is how often a crash test kills: 20, or CERTWRIGHT_CRASH_ROUNDS.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CERTWRIGHT_CRASH_ROUNDS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CERTWRIGHT_CRASH_ROUNDS=%q is not a number of rounds", text)
	}
	return n
}

// TestCrashKill9 kills the server under 64-way issuing, again and again: what a
// client received is in the ledger as issued, no serial stands twice, and what
// was under way is settled at the next start.
func TestCrashKill9(t *testing.T) {
	s := newServer(t)
	witnessed := newDeliveries()
	left := 0
	for round := range rounds(t) {
		s.start()
		got := s.issueUntilKilled(witnessed)
		unresolved := s.unresolved()
		if unresolved > 0 {
			left++
		}
		t.Logf("round %d: %d certificates delivered, %d intents left unresolved", round+1, got, unresolved)
	}
	if left == 0 {
		t.Errorf("no round left an unresolved intent: the kills came too late to prove anything")
	}
	s.start()
	for _, fault := range s.compare(witnessed) {
		t.Error(fault)
	}
	s.must(t.TempDir(), "ledger", "verify", "--signatures")
	s.stop()
	if n := s.unresolved(); n != 0 {
		t.Errorf("%d intents are still unresolved after a start and a stop", n)
	}
}

// TestCrashNegativeControl runs the same judgement over a binary that delivers
// before the intent is durable: it must be caught.
func TestCrashNegativeControl(t *testing.T) {
	wrong, err := build(t.TempDir(), "certwright", "negativecontrol")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.bin = wrong
	witnessed := newDeliveries()
	for range 5 {
		s.start()
		s.issueUntilKilled(witnessed)
		s.bin = binary // the right server looks at what the wrong one left
		s.start()
		faults := s.compare(witnessed)
		s.kill()
		if len(faults) > 0 {
			t.Logf("caught: %s (and %d more)", faults[0], len(faults)-1)
			return
		}
		s.bin = wrong
	}
	t.Fatal("five rounds of a server that delivers before it logs were not caught: this test proves nothing")
}

// deliveries are the certificates that clients received, by the SHA-256 of
// their DER.
type deliveries struct {
	mu   sync.Mutex
	byID map[string]string // to the serial
}

func newDeliveries() *deliveries { return &deliveries{byID: map[string]string{}} }

func (d *deliveries) add(id, serial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[id] = serial
}

// issueUntilKilled asks with 64 callers, kills the server a random moment after
// the hundredth delivery, and says how many were delivered.
func (s *server) issueUntilKilled(witnessed *deliveries) int {
	s.t.Helper()
	var requests [crashCallers]string
	for i := range requests {
		requests[i] = csrPEM(s.t, newKey(s.t), fmt.Sprintf("w%d.internal", i))
	}
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data, "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	client := certwrightv1.NewCertificateServiceClient(conn)
	ctx, cancel := context.WithCancel(context.Background())
	var delivered atomic.Int64
	enough := make(chan struct{})
	var callers sync.WaitGroup
	for _, csr := range requests {
		callers.Go(func() {
			for {
				c, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
				if err != nil {
					return
				}
				witnessed.add(fingerprint(c.Pem), c.Serial)
				if delivered.Add(1) == crashDeliveries {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(60 * time.Second):
		s.t.Errorf("fewer than %d deliveries in a minute\n%s", crashDeliveries, s.log)
	}
	<-time.After(rand.N(50 * time.Millisecond))
	s.kill()
	cancel()
	callers.Wait()
	return int(delivered.Load())
}

// fingerprint is the hexadecimal SHA-256 of a certificate's DER.
func fingerprint(pemText string) string {
	der := decodePEM(pemText)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// unresolved counts the intents that a stopped server's file holds as reserved.
func (s *server) unresolved() int {
	s.t.Helper()
	ctx := context.Background()
	store, err := bolt.Open(ctx, bolt.Config{Path: filepath.Join(s.data, "ledger.db"), ReadOnly: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	page, err := store.Certificates(ctx, storage.Query{Order: storage.ByUnresolved, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(page.Certificates)
}

// compare holds what was delivered against the running server's ledger.
func (s *server) compare(witnessed *deliveries) (faults []string) {
	s.t.Helper()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	serials := map[string]string{}
	issued := map[string]bool{}
	for _, c := range listAll(context.Background(), s.t, client, "") {
		if other, twice := serials[c.Serial]; twice {
			faults = append(faults, fmt.Sprintf("serial %s stands twice, for %s and %s", c.Serial, other, c.Id))
		}
		serials[c.Serial] = c.Id
		switch c.State {
		case certwrightv1.Certificate_ISSUED:
			issued[c.Id] = true
		case certwrightv1.Certificate_RESERVED:
			faults = append(faults, "serial "+c.Serial+" is still reserved after a start")
		}
	}
	witnessed.mu.Lock()
	defer witnessed.mu.Unlock()
	missing := []string{}
	for id, serial := range witnessed.byID {
		if !issued[id] {
			missing = append(missing, serial)
		}
	}
	if len(missing) > 0 {
		faults = append(faults, fmt.Sprintf("%d certificates were delivered and are not in the ledger as issued: %s",
			len(missing), strings.Join(missing[:min(3, len(missing))], ", ")))
	}
	return faults
}
