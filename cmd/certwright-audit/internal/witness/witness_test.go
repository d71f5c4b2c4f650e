package witness_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/witness"
	"github.com/certwright/certwright/merkle/cosign"
)

// tree is a log of n entries, made by tlog alone.
type tree struct{ stored []tlog.Hash }

func grow(t testing.TB, n int, salt string) *tree {
	t.Helper()
	tr := &tree{}
	for i := range n {
		hashes, err := tlog.StoredHashes(int64(i), fmt.Append(nil, salt, i), tr)
		check(t, err)
		tr.stored = append(tr.stored, hashes...)
	}
	return tr
}

func (tr *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = tr.stored[index]
	}
	return out, nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type world struct {
	testing.TB
	log     note.Signer
	logKey  book.Key
	signer  note.Signer
	cosign  note.Verifier
	dir     string
	handler *witness.Witness
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir()}
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example")
	check(t, err)
	w.log, err = note.NewSigner(skey)
	check(t, err)
	w.logKey, err = book.ParseKey(vkey)
	check(t, err)
	skey, vkey, err = cosign.GenerateKey("witness.example")
	check(t, err)
	w.signer, err = cosign.NewSigner(skey)
	check(t, err)
	w.cosign, err = cosign.NewVerifier(vkey)
	check(t, err)
	w.open()
	return w
}

func (w *world) open() {
	w.Helper()
	if w.handler != nil {
		check(w.TB, w.handler.Close())
	}
	var err error
	w.handler, err = witness.Open(witness.Config{Signer: w.signer, Logs: []book.Key{w.logKey}, Dir: w.dir})
	check(w.TB, err)
}

func (w *world) checkpoint(tr *tree, size int64) []byte {
	w.Helper()
	root, err := tlog.TreeHash(size, tr)
	check(w.TB, err)
	signed, err := audittest.Sign(w.log, uint64(size), root)
	check(w.TB, err)
	return signed
}

func (w *world) request(tr *tree, old, size int64) cosign.Request {
	w.Helper()
	r := cosign.Request{Old: uint64(old), Checkpoint: w.checkpoint(tr, size)}
	if old > 0 && old < size {
		proof, err := tlog.ProveTree(size, old, tr)
		check(w.TB, err)
		for _, hash := range proof {
			r.Proof = append(r.Proof, hash)
		}
	}
	return r
}

// answer is what the witness has said.
type answer struct {
	StatusCode int
	Header     http.Header
}

// add posts and returns status and body.
func (w *world) add(r cosign.Request) (answer, string) {
	w.Helper()
	return w.post(r.Marshal())
}

func (w *world) post(body []byte) (answer, string) {
	w.Helper()
	record := httptest.NewRecorder()
	w.handler.ServeHTTP(record, httptest.NewRequest(http.MethodPost, cosign.Path, bytes.NewReader(body)))
	return answer{record.Code, record.Header()}, record.Body.String()
}

// TestAddCheckpoint goes through the specification's answers.
func TestAddCheckpoint(t *testing.T) {
	w := newWorld(t)
	tr, other := grow(t, 40, "a"), grow(t, 40, "b")
	bad := func(r cosign.Request, change func(*cosign.Request)) cosign.Request { change(&r); return r }
	type step struct {
		name string
		r    cosign.Request
		want int
		size string
	}
	steps := []step{
		{"a proof from nothing", bad(w.request(tr, 0, 5), func(r *cosign.Request) { r.Proof = [][32]byte{{1}} }), 422, ""},
		{"an old size that is not known", w.request(tr, 3, 5), 409, "0\n"},
		{"the first", w.request(tr, 0, 5), 200, ""},
		{"again", w.request(tr, 5, 5), 200, ""},
		{"an old size of zero", w.request(tr, 0, 9), 409, "5\n"},
		{"grown", w.request(tr, 5, 9), 200, ""},
		{"a size from before", w.request(tr, 5, 12), 409, "9\n"},
		{"an old size beyond", bad(w.request(tr, 9, 12), func(r *cosign.Request) { r.Old = 13 }), 400, ""},
		{"the same size, another tree", w.request(other, 9, 9), 409, "9\n"},
		{"grown, another tree", w.request(other, 9, 12), 422, ""},
		{"no proof", bad(w.request(tr, 9, 12), func(r *cosign.Request) { r.Proof = nil }), 422, ""},
		{"a wrong proof", bad(w.request(tr, 9, 12), func(r *cosign.Request) { r.Proof[0][0] ^= 1 }), 422, ""},
		{"a proof of the same", bad(w.request(tr, 9, 9), func(r *cosign.Request) { r.Proof = [][32]byte{{1}} }), 422, ""},
		{"shrunk", bad(w.request(tr, 5, 7), func(r *cosign.Request) { r.Old = 7 }), 409, "9\n"},
		{"grown again", w.request(tr, 9, 40), 200, ""},
	}
	for _, s := range steps {
		res, body := w.add(s.r)
		if res.StatusCode != s.want || s.size != "" && (body != s.size || res.Header.Get("Content-Type") != cosign.SizeType) {
			t.Errorf("%s: %d %q", s.name, res.StatusCode, body)
		}
		if s.want == 200 {
			if _, err := cosign.ParseAnswer(s.r.Checkpoint, []byte(body), w.cosign); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			w.open() // what it has cosigned is on the disk before it answers
		}
	}
	if n := w.handler.Size("log.example"); n != 40 {
		t.Errorf("it remembers %d entries", n)
	}
}

// TestTwoOnOneMemory: two witnesses with one key and one folder could each sign what
// the other has not seen.
func TestTwoOnOneMemory(t *testing.T) {
	w := newWorld(t)
	again := func() (*witness.Witness, error) {
		return witness.Open(witness.Config{Signer: w.signer, Logs: []book.Key{w.logKey}, Dir: w.dir})
	}
	if _, err := again(); err == nil || !strings.Contains(err.Error(), w.dir) {
		t.Errorf("a second witness: %v", err)
	}
	check(t, w.handler.Close())
	second, err := again()
	check(t, err)
	check(t, second.Close())
}

// TestAgainWritesNothing: whoever has a public checkpoint can send it for ever; that
// costs the disk nothing.
func TestAgainWritesNothing(t *testing.T) {
	w := newWorld(t)
	tr := grow(t, 5, "a")
	var files [2]os.FileInfo
	for i, old := range []int64{0, 5} {
		if res, body := w.add(w.request(tr, old, 5)); res.StatusCode != 200 {
			t.Fatalf("%d %q", res.StatusCode, body)
		}
		var err error
		files[i], err = os.Stat(filepath.Join(w.dir, fmt.Sprintf("%x.checkpoint", sha256.Sum256([]byte("log.example")))))
		check(t, err)
	}
	if !os.SameFile(files[0], files[1]) {
		t.Error("the same checkpoint was written again")
	}
}

// TestRefused sends what nobody has signed, or is no request.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	tr := grow(t, 8, "a")
	good := w.request(tr, 0, 5)
	flipped := bytes.Replace(good.Marshal(), []byte("\n5\n"), []byte("\n6\n"), 1)
	for name, test := range map[string]struct {
		body []byte
		want int
	}{
		"empty": {nil, 400}, "rubbish": {[]byte("rubbish"), 400}, "no checkpoint": {[]byte("old 0\n\nrubbish"), 400},
		"another size": {flipped, 403}, "another log": {bytes.ReplaceAll(good.Marshal(), []byte("log.example"), []byte("log.elsewhere")), 404},
		"too large": {append(good.Marshal(), make([]byte, cosign.MaxRequest)...), 413},
	} {
		if res, body := w.post(test.body); res.StatusCode != test.want {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
	}
	for _, in := range []*http.Request{httptest.NewRequest(http.MethodGet, cosign.Path, nil), httptest.NewRequest(http.MethodPost, "/else", nil)} {
		record := httptest.NewRecorder()
		if w.handler.ServeHTTP(record, in); record.Code != 405 && record.Code != 404 {
			t.Errorf("%s %s: %d", in.Method, in.URL, record.Code)
		}
	}
	if w.handler.Size("log.example") != 0 {
		t.Error("something was cosigned")
	}
}

// TestExtensions cosigns a checkpoint of another sort of log, with extension lines and
// further signatures.
func TestExtensions(t *testing.T) {
	w := newWorld(t)
	tr := grow(t, 5, "a")
	root, err := tlog.TreeHash(5, tr)
	check(t, err)
	skey, _, err := note.GenerateKey(rand.Reader, "log.example")
	check(t, err)
	second, err := note.NewSigner(skey)
	check(t, err)
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("log.example\n5\n%s\nextension 1\n", root)}, second, w.log)
	check(t, err)
	res, body := w.add(cosign.Request{Checkpoint: signed})
	if res.StatusCode != 200 {
		t.Fatalf("%d %q", res.StatusCode, body)
	}
	if _, err := cosign.ParseAnswer(signed, []byte(body), w.cosign); err != nil {
		t.Error(err)
	}
}

// TestRace has many clients at once: what is cosigned never falls.
func TestRace(t *testing.T) {
	w := newWorld(t)
	tr := grow(t, 64, "a")
	var wait sync.WaitGroup
	var mu sync.Mutex
	cosigned := map[uint64]bool{}
	for size := int64(1); size <= 64; size++ {
		wait.Go(func() {
			for {
				old := int64(w.handler.Size("log.example"))
				if old >= size {
					return
				}
				r := w.request(tr, old, size)
				if res, _ := w.add(r); res.StatusCode == 200 {
					mu.Lock()
					cosigned[uint64(size)] = true
					mu.Unlock()
					return
				}
			}
		})
	}
	wait.Wait()
	if n := w.handler.Size("log.example"); n != 64 || !cosigned[64] {
		t.Errorf("at the end %d entries are cosigned", n)
	}
}

// TestDisk damages what it remembers, and takes the disk away.
func TestDisk(t *testing.T) {
	w := newWorld(t)
	tr := grow(t, 9, "a")
	w.add(w.request(tr, 0, 5))
	path := filepath.Join(w.dir, fmt.Sprintf("%x.checkpoint", sha256.Sum256([]byte("log.example"))))
	kept, err := os.ReadFile(path)
	check(t, err)
	for _, damage := range [][]byte{nil, kept[:20], bytes.Replace(kept, []byte("\n5\n"), []byte("\n4\n"), 1)} {
		check(t, os.WriteFile(path, damage, 0o600))
		if _, err := witness.Open(witness.Config{Signer: w.signer, Logs: []book.Key{w.logKey}, Dir: w.dir}); err == nil {
			t.Errorf("it opened with %q", damage)
		}
	}
	check(t, os.WriteFile(path, kept, 0o600))
	w.open()
	check(t, os.RemoveAll(w.dir))
	if res, body := w.add(w.request(tr, 5, 9)); res.StatusCode != 500 || strings.Contains(body, "—") || w.handler.Size("log.example") != 5 {
		t.Errorf("it cosigned what it cannot remember: %d %q", res.StatusCode, body)
	}
}

func FuzzAddCheckpoint(f *testing.F) {
	w := newWorld(f)
	tr := grow(f, 9, "a")
	f.Add(w.request(tr, 0, 5).Marshal())
	f.Add(w.request(tr, 5, 9).Marshal())
	f.Add([]byte("old 0\n\nlog.example\n1\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		record := httptest.NewRecorder()
		w.handler.ServeHTTP(record, httptest.NewRequest(http.MethodPost, cosign.Path, bytes.NewReader(body)))
		if record.Code >= 500 {
			t.Fatalf("%d %s", record.Code, record.Body)
		}
	})
}
