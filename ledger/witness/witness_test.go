package witness_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/merkle/cosign"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const origin = "ca.example/ledger"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a ledger whose checkpoint loop runs.
type world struct {
	*testing.T
	key   ed25519.PrivateKey
	db    string // its file
	store *bolt.Store
	log   *ledger.Log
	vkey  note.Verifier
	stop  func() // ends what was begun last
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	w := &world{T: t, key: key, db: filepath.Join(t.TempDir(), "ledger.db")}
	check(t, bolt.Create(w.db))
	w.open()
	w.run(filepath.Join(t.TempDir(), "lock"))
	return w
}

func (w *world) open() {
	w.Helper()
	var err error
	w.store, err = bolt.Open(w.Context(), bolt.Config{Path: w.db, Linger: -1})
	check(w.T, err)
	store := w.store
	w.Cleanup(func() { _ = store.Close() })
}

// run opens the ledger and runs its loop.
func (w *world) run(lock string) {
	w.Helper()
	var err error
	w.log, err = ledger.Open(w.Context(), ledger.Config{Store: w.store, Origin: origin, Signer: w.key, Lock: lock, Interval: time.Millisecond})
	check(w.T, err)
	w.vkey, err = note.NewVerifier(w.log.VerifierKey())
	check(w.T, err)
	w.background(w.log.Run)
}

// recovered goes on from an older copy of the database, in a new epoch.
func (w *world) recovered(db string) *world {
	w.Helper()
	cp, err := w.log.Checkpoint(w.Context())
	check(w.T, err)
	lock := filepath.Join(w.TempDir(), "lock")
	check(w.T, os.WriteFile(lock, cp.Note, 0o600))
	next := &world{T: w.T, key: w.key, db: db}
	next.open()
	r, err := ledger.PlanRecovery(w.Context(), ledger.RecoverConfig{Store: next.store, Origin: origin, Signer: w.key, Lock: lock, Actor: "local_socket:admin"})
	check(w.T, err)
	check(w.T, r.Run(w.Context(), nobody{}, func(uint64, uint64) {}))
	next.run(lock)
	return next
}

// nobody takes up what comes back.
type nobody struct{}

func (nobody) Back(context.Context, uint64, entry.Entry, entry.Body, bool) ([]storage.Command, error) {
	return nil, nil
}
func (nobody) Last(context.Context) ([]storage.Command, error) { return nil, nil }

// background runs something until the test ends, or until it is stopped.
func (w *world) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(stop)
	return stop
}

// grow appends n entries and waits until they are under a checkpoint.
func (w *world) grow(n int) uint64 {
	w.Helper()
	d, err := entry.Action{Action: "token.created"}.Draft("local_socket:admin")
	check(w.T, err)
	last := uint64(0)
	for range n {
		r, err := w.store.Commit(w.Context(), storage.Unit{storage.AppendEntry{Entry: d}})
		check(w.T, err)
		last = r.Indexes[0]
	}
	check(w.T, w.log.Wait(w.Context(), last))
	return last + 1
}

// peer is a witness as the specification has it, behind a real server. What it answers
// can be bent.
type peer struct {
	witness.Witness
	signer note.Signer
	log    note.Verifier
	server *httptest.Server

	mu     sync.Mutex
	size   uint64
	root   tlog.Hash
	asked  int
	answer func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) bool // true: it has answered
}

func (w *world) peer(name string) *peer {
	w.Helper()
	skey, vkey, err := cosign.GenerateKey(name)
	check(w.T, err)
	p := &peer{log: w.vkey}
	p.signer, err = cosign.NewSigner(skey)
	check(w.T, err)
	p.server = httptest.NewServer(p)
	w.Cleanup(p.server.Close)
	p.Witness, err = witness.Parse(p.server.URL + "/ " + vkey)
	check(w.T, err)
	return p
}

// bend changes how it answers; nil: as it should.
func (p *peer) bend(answer func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != cosign.Path || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.asked++
	bent := p.answer
	p.mu.Unlock()
	if bent != nil && bent(p, w, r, body) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	req, err := cosign.ParseRequest(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n, err := note.Open(req.Checkpoint, note.VerifierList(p.log))
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.SplitN(n.Text, "\n", 2)[1]))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if req.Old != p.size || req.Old == uint64(tree.N) && tree.Hash != p.root {
		w.Header().Set("Content-Type", cosign.SizeType)
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, "%d\n", p.size)
		return
	}
	if p.size > 0 {
		var proof tlog.TreeProof
		for _, hash := range req.Proof {
			proof = append(proof, hash)
		}
		if tlog.CheckTree(proof, tree.N, tree.Hash, int64(p.size), p.root) != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
	}
	line, err := cosign.Answer(req.Checkpoint, p.signer)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	p.size, p.root = uint64(tree.N), tree.Hash
	_, _ = w.Write(line)
}

// ask runs the client against the peers.
func (w *world) ask(need int, timeout time.Duration, peers ...*peer) *witness.Witnesses {
	w.Helper()
	c := witness.Config{Log: w.log, Store: w.store, Need: need, Retry: time.Millisecond}
	var ports []int
	for _, p := range peers {
		c.Witnesses = append(c.Witnesses, p.Witness)
		u, err := url.Parse(p.URL)
		check(w.T, err)
		port, err := strconv.Atoi(u.Port())
		check(w.T, err)
		ports = append(ports, port)
	}
	var err error
	c.Client, err = egress.New(egress.Config{Ports: ports, MaxBytes: cosign.MaxAnswer, Timeout: timeout, MaxRedirects: -1})
	check(w.T, err)
	all, err := witness.New(c)
	check(w.T, err)
	w.stop = w.background(all.Run)
	return all
}

// until waits for a state.
func (w *world) until(all *witness.Witnesses, what string, ok func(witness.Status) bool) witness.Status {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for {
		status, changed := all.Status()
		if ok(status) {
			return status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.Fatalf("%s did not come: %+v", what, status)
		}
	}
}

func failed(n int, text string) func(witness.Status) bool {
	return func(s witness.Status) bool {
		return s.Witnesses[n].Err != nil && strings.Contains(s.Witnesses[n].Err.Error(), text)
	}
}

func cosigned(n int, size uint64) func(witness.Status) bool {
	return func(s witness.Status) bool { return s.Witnesses[n].Size >= size && s.Witnesses[n].Err == nil }
}

// TestCosigned has two honest witnesses, and a ledger that grows.
func TestCosigned(t *testing.T) {
	w := newWorld(t)
	one, two := w.peer("w1.example"), w.peer("w2.example")
	all := w.ask(2, 0, one, two)
	for _, n := range []int{1, 1, 300, 5} {
		size := w.grow(n)
		status := w.until(all, "a witnessed checkpoint", func(s witness.Status) bool { return s.Witnessed.Size >= size })
		n, err := note.Open(status.Witnessed.Note, note.VerifierList(one.Key, two.Key, w.vkey))
		if err != nil || len(n.Sigs) != 3 {
			t.Fatalf("the witnessed checkpoint: %v %v", n, err)
		}
		if cp, err := ledger.ParseCheckpoint(status.Witnessed.Note, w.log.VerifierKey()); err != nil || cp.Size != status.Witnessed.Size {
			t.Errorf("a reader who knows no witness: %v", err)
		}
	}
	cp, err := w.log.Checkpoint(t.Context())
	check(t, err)
	if n, err := note.Open(cp.Note, note.VerifierList(one.Key, two.Key)); err != nil || len(n.Sigs) != 2 {
		t.Errorf("the published checkpoint does not carry the cosignatures: %v\n%s", err, cp.Note)
	}
}

// TestBadWitnesses has one that behaves badly beside one that does not. The good one
// cosigns meanwhile, and the bad one is taken back when it behaves.
func TestBadWitnesses(t *testing.T) {
	status := func(code int, body string) func(*peer, http.ResponseWriter, *http.Request, []byte) bool {
		return func(_ *peer, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	signs := func(change func(line []byte) []byte) func(*peer, http.ResponseWriter, *http.Request, []byte) bool {
		return func(p *peer, w http.ResponseWriter, _ *http.Request, body []byte) bool {
			req, err := cosign.ParseRequest(body)
			if err != nil {
				return false
			}
			line, err := cosign.Answer(req.Checkpoint, p.signer)
			if err != nil {
				return false
			}
			_, _ = w.Write(change(line))
			return true
		}
	}
	for name, test := range map[string]struct {
		answer func(*peer, http.ResponseWriter, *http.Request, []byte) bool
		want   string
	}{
		"a bad signature": {signs(func(line []byte) []byte {
			at := len(line) - 20
			if line[at] == 'A' {
				line[at] = 'B'
			} else {
				line[at] = 'A'
			}
			return line
		}), "does not hold"},
		"nothing":       {status(200, ""), "no signature of the key"},
		"rubbish":       {status(200, "hello"), "not lines of signatures"},
		"a huge answer": {status(200, strings.Repeat("x", cosign.MaxAnswer+10)), "too long"},
		"a signature of another tree": {func(p *peer, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			line, err := cosign.Answer([]byte(origin+"\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— x\n"), p.signer)
			if err == nil {
				_, _ = w.Write(line)
			}
			return true
		}, "does not hold"},
		"an endless answer": {func(_ *peer, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return true
				}
			}
		}, "too long"},
		"an endless header": {func(_ *peer, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.Header().Set("X", strings.Repeat("x", 1<<16))
			return true
		}, "headers"},
		"a redirect": {func(p *peer, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Redirect(w, r, p.URL, http.StatusFound)
			return true
		}, "status 302"},
		"an unknown ledger":         {status(404, ""), "does not know this ledger"},
		"an unknown key":            {status(403, ""), "another key of this origin"},
		"broken":                    {status(500, ""), "status 500"},
		"409 for ever":              {status(409, "1\n"), "whatever it is sent"},
		"409 with its own size":     {status(409, "0\n"), "whatever it is sent"},
		"409 beyond the ledger":     {status(409, "1000000\n"), "is this database an older copy"},
		"409 without a size":        {status(409, "<html>"), "without the size"},
		"another tree":              {status(422, ""), "this one does not contain"},
		"no connection to the peer": {func(*peer, http.ResponseWriter, *http.Request, []byte) bool { panic(http.ErrAbortHandler) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grow(3)
			good, bad := w.peer("good.example"), w.peer("bad.example")
			bad.bend(test.answer)
			all := w.ask(1, 0, good, bad)
			w.until(all, "the failure", failed(1, test.want))
			size := w.grow(2)
			got := w.until(all, "the good one's cosignature", func(s witness.Status) bool { return s.Witnessed.Size >= size })
			if _, err := note.Open(got.Witnessed.Note, note.VerifierList(bad.Key)); err == nil {
				t.Error("the bad one counts")
			}
			bad.bend(nil)
			size = w.grow(1)
			w.until(all, "the bad one's recovery", cosigned(1, size))
		})
	}
}

// TestConflict has a witness that has cosigned before, as after a restart of the
// server: it names its size, and is sent the proof from there.
func TestConflict(t *testing.T) {
	w := newWorld(t)
	p := w.peer("w.example")
	size := w.grow(300)
	w.until(w.ask(1, 0, p), "the first cosignature", cosigned(0, size))
	w.stop()
	size = w.grow(40)
	again := w.ask(1, 0, p)
	got := w.until(again, "the cosignature after a restart", cosigned(0, size))
	if got.Witnesses[0].Failures > 0 {
		t.Errorf("the answer 409 counts as a failure: %+v", got)
	}
}

// TestNewEpoch has a witness of the epoch before asked for a new one: to it a log of
// another name, which begins at size 0, and whose key it must be given.
func TestNewEpoch(t *testing.T) {
	w := newWorld(t)
	p := w.peer("w.example")
	data, err := os.ReadFile(w.db)
	check(t, err)
	backup := filepath.Join(t.TempDir(), "ledger.db")
	check(t, os.WriteFile(backup, data, 0o600))
	size := w.grow(30)
	w.until(w.ask(1, 0, p), "the cosignature of epoch 1", cosigned(0, size))
	w.stop()

	next := w.recovered(backup)
	p.bend(func(_ *peer, w http.ResponseWriter, _ *http.Request, body []byte) bool {
		if !strings.HasPrefix(string(body), "old 0\n\n"+origin+"/epoch-2\n") {
			t.Errorf("asked for a log that it does not know: %q", body)
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	next.until(next.ask(1, 0, p), "the answer 404", failed(0, "give its admin the verifier key"))
	next.stop()
	other := next.peer("w2.example") // which knows the key of epoch 2
	size = next.grow(5)
	got := next.until(next.ask(1, 0, other), "the cosignature of epoch 2", cosigned(0, size))
	if got.Witnesses[0].Failures > 0 || !strings.HasPrefix(string(got.Witnessed.Note), origin+"/epoch-2\n") {
		t.Errorf("%+v", got)
	}
}

// TestFork has a witness that has cosigned another history under the ledger's key.
func TestFork(t *testing.T) {
	w := newWorld(t)
	p := w.peer("w.example")
	size := w.grow(10)
	p.size, p.root = size, tlog.Hash{1}
	all := w.ask(1, 0, p)
	w.until(all, "the fork", failed(0, "this one does not contain"))
	w.grow(5)
	w.until(all, "the fork with more entries", func(s witness.Status) bool {
		return s.Witnesses[0].Failures > 2 && failed(0, "this one does not contain")(s)
	})
}

// TestSlow has a witness that does not answer: neither the other one nor the ledger
// waits for it, and the server stops without it.
func TestSlow(t *testing.T) {
	w := newWorld(t)
	good, slow := w.peer("good.example"), w.peer("slow.example")
	release := make(chan struct{})
	slow.bend(func(_ *peer, _ http.ResponseWriter, r *http.Request, _ []byte) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	})
	defer close(release)
	all := w.ask(1, time.Hour, good, slow)
	for range 3 {
		size := w.grow(1)
		w.until(all, "the good one's cosignature", cosigned(0, size))
	}
	short := w.ask(1, 50*time.Millisecond, slow)
	w.until(short, "the end of its time", failed(0, "no answer in time"))
}

func TestParse(t *testing.T) {
	_, vkey, err := cosign.GenerateKey("w.example")
	check(t, err)
	if w, err := witness.Parse(" https://w.example/prefix/ " + vkey + " "); err != nil || w.URL != "https://w.example/prefix" || w.Key.Name() != "w.example" {
		t.Errorf("%+v %v", w, err)
	}
	for _, bad := range []string{"", vkey, "https://w.example", "ftp://w.example " + vkey, "https://a:b@w.example " + vkey, "https://w.example?x " + vkey, "https://w.example " + vkey[:40]} {
		if _, err := witness.Parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	w, err := witness.Parse("http://w.example " + vkey)
	check(t, err)
	if _, err := witness.New(witness.Config{Witnesses: []witness.Witness{w, w}}); err == nil {
		t.Error("one witness counts twice")
	}
	if _, err := witness.New(witness.Config{Witnesses: []witness.Witness{w}, Need: 2}); err == nil {
		t.Error("more are needed than there are")
	}
}
