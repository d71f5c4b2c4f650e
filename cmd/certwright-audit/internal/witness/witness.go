// Package witness is a witness of logs (C2SP tlog-witness): it cosigns the
// checkpoints of the logs that it knows, each only if it contains the one that it
// has cosigned before. It remembers one checkpoint of each log, durably before it
// answers.
package witness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/cosign"
)

// Config of a Witness.
type Config struct {
	// Signer is the witness's key, for cosignature/v1.
	Signer note.Signer
	// Logs are the keys of the logs; a key's name is its log's origin, and a log may
	// have several. Each epoch of a ledger is a log of its own.
	Logs []book.Key
	// Dir keeps the last checkpoint of each log; it is made if it is not there.
	Dir string
	// Logger; nil: nothing is logged.
	Logger *slog.Logger
}

// Witness is an http.Handler of "/add-checkpoint".
type Witness struct {
	signer note.Signer
	logs   map[string]*log
	logger *slog.Logger
	lock   *os.File
}

// log is what is known of one log.
type log struct {
	origin string
	keys   []book.Key
	path   string

	mu   sync.Mutex // held from the comparison until the new checkpoint is on disk
	last book.Checkpoint
}

// Open makes a Witness of what it remembers. A remembered checkpoint that does not
// hold is an error: without it a log could be shown another past.
func Open(c Config) (*Witness, error) {
	if c.Signer == nil || len(c.Logs) == 0 {
		return nil, errors.New("a witness needs a key, and a log to know")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	// Two with one memory would each sign what the other has not seen.
	held, err := book.Lock(c.Dir)
	if err != nil {
		return nil, err
	}
	w := &Witness{signer: c.Signer, logs: map[string]*log{}, logger: c.Logger, lock: held}
	if err := w.load(c); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close lets another witness have the folder.
func (w *Witness) Close() error { return w.lock.Close() }

// load reads what the folder remembers of each log.
func (w *Witness) load(c Config) error {
	for _, key := range c.Logs {
		l := w.logs[key.Name()]
		if l == nil {
			name := fmt.Sprintf("%x.checkpoint", sha256.Sum256([]byte(key.Name())))
			l = &log{origin: key.Name(), path: filepath.Join(c.Dir, name)}
			w.logs[l.origin] = l
		}
		l.keys = append(l.keys, key)
	}
	for _, l := range w.logs {
		data, err := os.ReadFile(l.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			l.last, err = book.Open(data, l.keys)
		}
		if err == nil && l.last.Origin != l.origin {
			err = fmt.Errorf("it is of %q", l.last.Origin)
		}
		if err != nil {
			return fmt.Errorf("the last checkpoint of %s, %s: %w", l.origin, l.path, err)
		}
	}
	return nil
}

// Size is how many entries of a log were cosigned last; 0: none yet.
func (w *Witness) Size(origin string) uint64 {
	l := w.logs[origin]
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Size
}

// refusal is an answer that is no cosignature.
type refusal struct {
	status int
	text   string
	size   *uint64 // of the checkpoint that was cosigned last
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler.
func (w *Witness) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	if in.URL.Path != cosign.Path {
		http.Error(out, "there is only "+cosign.Path, http.StatusNotFound)
		return
	}
	if in.Method != http.MethodPost {
		out.Header().Set("Allow", http.MethodPost)
		http.Error(out, "POST it", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, cosign.MaxRequest))
	if err != nil {
		status := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(out, "the request cannot be read in full", status)
		return
	}
	answer, err := w.add(in, body)
	var r *refusal
	switch {
	case errors.As(err, &r) && r.size != nil:
		out.Header().Set("Content-Type", cosign.SizeType)
		out.WriteHeader(r.status)
		_, _ = io.WriteString(out, strconv.FormatUint(*r.size, 10)+"\n")
	case errors.As(err, &r):
		http.Error(out, r.text, r.status)
	case err != nil:
		w.logger.ErrorContext(in.Context(), "a checkpoint could not be cosigned", slog.Any("error", err))
		http.Error(out, "the witness cannot write; nothing was cosigned", http.StatusInternalServerError)
	default:
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = out.Write(answer)
	}
}

// add is add-checkpoint; the checks are in the order of the specification.
func (w *Witness) add(in *http.Request, body []byte) ([]byte, error) {
	req, err := cosign.ParseRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the request is malformed: %v", err)
	}
	cp, err := book.Peek(req.Checkpoint)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	l := w.logs[cp.Origin]
	if l == nil {
		return nil, refuse(http.StatusNotFound, "the log %.64q is not known here", cp.Origin)
	}
	if cp, err = book.Open(req.Checkpoint, l.keys); err != nil {
		return nil, refuse(http.StatusForbidden, "%v", err)
	}
	if req.Old > cp.Size {
		return nil, refuse(http.StatusBadRequest, "the old size %d is greater than the checkpoint's: %d", req.Old, cp.Size)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(req, cp); err != nil {
		if conflict := err.status == http.StatusUnprocessableEntity || err.size != nil && req.Old == l.last.Size; conflict {
			w.logger.WarnContext(in.Context(), "a signed checkpoint is not consistent with the one cosigned before", slog.String("origin", l.origin),
				slog.Uint64("size", cp.Size), slog.Uint64("cosigned", l.last.Size), slog.String("note", string(cp.Note)))
		}
		return nil, err
	}
	answer, err := cosign.Answer(cp.Note, w.signer)
	if err != nil {
		return nil, err
	}
	if l.last.Note != nil && l.last.Size == cp.Size { // anybody can send it again
		return answer, nil
	}
	if err := book.WriteFile(l.path, cp.Note); err != nil {
		return nil, err
	}
	l.last = cp
	w.logger.InfoContext(in.Context(), "cosigned", slog.String("origin", l.origin), slog.Uint64("size", cp.Size))
	return answer, nil
}

// check holds a signed checkpoint against the last one.
func (l *log) check(req cosign.Request, cp book.Checkpoint) *refusal {
	last := l.last.Size
	conflict := &refusal{status: http.StatusConflict, text: "not the size that was cosigned last", size: &last}
	switch {
	case req.Old != last:
		return conflict
	case last == cp.Size && l.last.Note != nil:
		if cp.Root != l.last.Root {
			return conflict
		}
		if len(req.Proof) > 0 {
			return refuse(http.StatusUnprocessableEntity, "a proof that a tree contains itself is empty")
		}
		return nil
	case last == 0:
		if len(req.Proof) > 0 {
			return refuse(http.StatusUnprocessableEntity, "a proof from nothing is empty")
		}
		return nil
	}
	proof := make(tlog.TreeProof, len(req.Proof))
	for i, hash := range req.Proof {
		proof[i] = hash
	}
	if err := tlog.CheckTree(proof, int64(cp.Size), cp.Root, int64(last), l.last.Root); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the proof does not show that %d entries contain the %d that were cosigned", cp.Size, last)
	}
	return nil
}
