package ledger

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/proof"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Proof shows that an entry is in the tree of a checkpoint.
type Proof struct {
	Index uint64
	Entry []byte     // raw
	Leaf  [32]byte   // its leaf hash: RFC 6962 §2.1
	Path  [][32]byte // audit path from the leaf's sibling upwards: RFC 6962 §2.1.1
	Size  uint64     // of the tree
	Root  [32]byte   // at Size
	// Checkpoint is the signed note of that size; nil if the proof is for
	// another size than the newest checkpoint's.
	Checkpoint []byte
}

// Proof proves the entry at index in the newest checkpoint. Errors:
// problem.NotFound beyond the ledger, problem.FailedPrecondition beyond the
// checkpoint: see Wait.
func (l *Log) Proof(ctx context.Context, index uint64) (Proof, error) {
	return l.ProofAt(ctx, index, 0)
}

// ProofAt proves the entry at index in the tree of a size up to the newest
// checkpoint's; 0: that one's. Errors as of Proof.
func (l *Log) ProofAt(ctx context.Context, index, size uint64) (Proof, error) {
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return Proof{}, err
	}
	asked := size
	if size == 0 {
		size = cp.Size
	}
	if size > cp.Size || index >= size {
		return Proof{}, l.notProvable(ctx, cp, index, asked)
	}
	raws, err := l.config.Store.Entries(ctx, index, 1)
	if err == nil && len(raws) == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return Proof{}, fmt.Errorf("read entry %d: %w", index, err)
	}
	hashes, err := authentic(ctx, l.config.Store, cp.Size, cp.Root)
	if err != nil {
		return Proof{}, err
	}
	root, err := tlog.TreeHash(int64(size), hashes)
	if err != nil {
		return Proof{}, fmt.Errorf("root at %d: %w", size, err)
	}
	path, err := tlog.ProveRecord(int64(size), int64(index), hashes)
	if err != nil {
		return Proof{}, fmt.Errorf("prove entry %d: %w", index, err)
	}
	p := Proof{Index: index, Entry: raws[0], Leaf: tlog.RecordHash(raws[0]), Size: size, Root: root}
	for _, h := range path {
		p.Path = append(p.Path, h)
	}
	if size == cp.Size {
		p.Checkpoint = cp.Note
	}
	return p, p.check()
}

func (l *Log) notProvable(ctx context.Context, cp Checkpoint, index, size uint64) error {
	head, err := l.config.Store.Head(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the head: %w", err)
	case index >= head.Size:
		return problem.New(problem.NotFound, "the ledger has %d entries: there is no entry %d", head.Size, index)
	case size > head.Size:
		return problem.New(problem.NotFound, "the ledger has %d entries: there is no tree of %d", head.Size, size)
	case size != 0 && index >= size:
		return problem.New(problem.Malformed, "a tree of %d entries does not hold entry %d", size, index)
	}
	return &problem.Problem{
		Kind:   problem.FailedPrecondition,
		Detail: fmt.Sprintf("the newest checkpoint covers %d entries: not yet what was asked for", cp.Size),
		Help:   "try again in a second",
	}
}

// check recomputes the root from the entry and the path.
func (p Proof) check() error {
	if p.Leaf != tlog.RecordHash(p.Entry) {
		return fmt.Errorf("entry %d does not have the leaf hash %x", p.Index, p.Leaf)
	}
	return proof.Proof{Entry: p.Entry, Index: p.Index, Path: p.Path}.Check(p.Size, p.Root)
}

// CheckProof tells whether the entry is in the tree of the proof's checkpoint,
// and whether the holder of the verifier key has signed that.
func CheckProof(p Proof, verifierKey string) error {
	cp, err := ParseCheckpoint(p.Checkpoint, verifierKey)
	if err != nil {
		return err
	}
	if cp.Size != p.Size || cp.Root != p.Root {
		return fmt.Errorf("the proof is for a tree of %d, the checkpoint of %d, or their roots differ", p.Size, cp.Size)
	}
	return p.check()
}

// Proven reads the entry at index of a store whose ledger is open, and shows that
// it is in the tree of the store's head.
func Proven(ctx context.Context, store storage.LedgerReader, index uint64) (entry.Entry, error) {
	head, err := store.Head(ctx)
	if err != nil {
		return entry.Entry{}, fmt.Errorf("read the head: %w", err)
	}
	raws, err := store.Entries(ctx, index, 1)
	if err != nil {
		return entry.Entry{}, fmt.Errorf("read entry %d: %w", index, err)
	}
	if len(raws) == 0 || index >= head.Size {
		return entry.Entry{}, fmt.Errorf("there is no entry %d", index)
	}
	hashes, err := authentic(ctx, store, head.Size, head.Root)
	if err != nil {
		return entry.Entry{}, err
	}
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
	if err != nil {
		return entry.Entry{}, fmt.Errorf("prove entry %d: %w", index, err)
	}
	if leaf[0] != tlog.RecordHash(raws[0]) {
		return entry.Entry{}, fmt.Errorf("entry %d is not the one that was hashed", index)
	}
	return entry.Parse(raws[0])
}

// rootAt recomputes the root of the first size entries from the tiles of
// leaves and above.
func rootAt(ctx context.Context, store storage.LedgerReader, size uint64) ([32]byte, error) {
	return tlog.TreeHash(int64(size), tiles{ctx, store})
}
