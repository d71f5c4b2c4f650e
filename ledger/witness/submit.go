package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/cosign"
)

// errOtherTree is in the chain of what a witness answers that has cosigned another
// history under the ledger's signature.
var errOtherTree = errors.New("it has cosigned a tree of this ledger that this one does not contain")

// maxTries is how often a witness may name another size in answer to one checkpoint:
// other servers of the same ledger may ask it at the same time.
const maxTries = 3

// maxAhead is how far in the future a cosignature may be: clocks differ.
const maxAhead = 5 * time.Minute

// submit asks one witness to cosign a checkpoint. If it says that it has cosigned
// another size before, it is asked again from there.
func (w *Witnesses) submit(ctx context.Context, a *asked, cp ledger.Checkpoint) (cosign.Cosignature, error) {
	cp.Note = bare(cp.Note)
	for try := 0; ; try++ {
		sent := a.old
		res, err := w.add(ctx, a, cp)
		if err != nil {
			return cosign.Cosignature{}, err
		}
		switch res.Status {
		case http.StatusOK:
			return w.taken(a, cp, res.Body)
		case http.StatusConflict:
			size, err := conflict(res.Body, sent, cp.Size)
			if err == nil && (try >= maxTries || size == sent) {
				err = fmt.Errorf("it answers 409 and names the size %d, whatever it is sent", size)
			}
			if err != nil {
				return cosign.Cosignature{}, err
			}
			a.old = size
		case http.StatusUnprocessableEntity:
			a.old = 0
			return cosign.Cosignature{}, errOtherTree
		default:
			return cosign.Cosignature{}, refusal(res.Status)
		}
	}
}

// taken checks the cosignature in an answer.
func (w *Witnesses) taken(a *asked, cp ledger.Checkpoint, answer []byte) (cosign.Cosignature, error) {
	sig, err := cosign.ParseAnswer(cp.Note, answer, a.Key)
	if err == nil && sig.Time.After(w.config.Now().Add(maxAhead)) {
		err = fmt.Errorf("its cosignature is of %s, in the future", sig.Time.Format(time.RFC3339))
	}
	if err == nil {
		a.old = cp.Size
	}
	return sig, err
}

// conflict is the size that a witness has cosigned before, if it can be asked again
// from there.
func conflict(answer []byte, sent, size uint64) (uint64, error) {
	seen, err := cosign.ParseSize(answer)
	switch {
	case err != nil:
		return 0, fmt.Errorf("it answers 409 without the size that it has seen: %w", err)
	case seen == sent && sent == size:
		return 0, errOtherTree
	case seen > size:
		return 0, fmt.Errorf("it has cosigned %d entries already, and there are %d: is this database an older copy?", seen, size)
	}
	return seen, nil
}

// refusal is what a status means here.
func refusal(status int) error {
	switch status {
	case http.StatusNotFound:
		return errors.New("it does not know this ledger (404): give its admin the verifier key, and check the URL")
	case http.StatusForbidden:
		return errors.New("it does not take the ledger's signature (403): it knows another key of this origin")
	}
	return fmt.Errorf("it answers with status %d", status)
}

// add is one request.
func (w *Witnesses) add(ctx context.Context, a *asked, cp ledger.Checkpoint) (*egress.Response, error) {
	if a.old > cp.Size {
		a.old = cp.Size
	}
	proof, err := w.proof(ctx, a.old, cp)
	if err != nil {
		return nil, fmt.Errorf("the proof of consistency: %w", err)
	}
	body := cosign.Request{Old: a.old, Proof: proof, Checkpoint: cp.Note}.Marshal()
	res, err := w.config.Client.Post(ctx, a.URL+cosign.Path, "text/plain; charset=utf-8", body, egress.Options{TLS: w.config.TLS})
	if err != nil {
		return nil, err
	}
	if res.Truncated {
		return nil, errors.New("its answer is too long")
	}
	return res, nil
}

// proof shows that the checkpoint's tree contains the one of old entries.
func (w *Witnesses) proof(ctx context.Context, old uint64, cp ledger.Checkpoint) ([][merkle.HashSize]byte, error) {
	if old == 0 || old == cp.Size {
		return nil, nil
	}
	hashes, err := merkle.NewReader(cp.Size, cp.Root, func(level int, n uint64, width int) ([]byte, error) {
		return w.config.Store.Tile(ctx, level, n, width)
	})
	if err != nil {
		return nil, err
	}
	proof, err := tlog.ProveTree(int64(cp.Size), int64(old), hashes)
	if err != nil {
		return nil, err
	}
	out := make([][merkle.HashSize]byte, len(proof))
	for i, hash := range proof {
		out[i] = hash
	}
	return out, nil
}

// bare is a note with its first signature, the log's own, alone.
func bare(signed []byte) []byte {
	text, lines, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		return signed
	}
	first, _, _ := strings.Cut(string(lines), "\n")
	return fmt.Appendf(nil, "%s\n\n%s\n", text, first)
}
