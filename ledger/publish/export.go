package publish

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/flock"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
)

// ExportConfig says what is exported, and where to.
type ExportConfig struct {
	From Source
	// Dir is made if it is not there. What an export before has written there is
	// continued.
	Dir string
	// VerifierKey checks the checkpoint's signature; empty: not checked.
	VerifierKey string
	// Progress is called now and then with how many of the new entries are done;
	// nil: never.
	Progress func(done, total uint64)
}

// Exported is the result of Export.
type Exported struct {
	Checkpoint ledger.Checkpoint
	Before     uint64 // entries that the folder held before
	Files      int    // written
}

// Export writes the newest checkpoint and every tile and bundle under it into a
// folder, as they are served, and the checkpoint last: what a folder's checkpoint
// covers is there, whatever ends an export. Only what is new is fetched. Every
// hash is computed from the entries, so that the files hold; a ledger that does
// not begin with what the folder has is refused with ErrOtherHistory, and the folder
// stays as evidence.
func Export(ctx context.Context, c ExportConfig) (Exported, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return Exported{}, err
	}
	release, err := lockFolder(c.Dir)
	if err != nil {
		return Exported{}, err
	}
	defer release()
	note, err := c.From.File(ctx, layout.Checkpoint)
	if err != nil {
		return Exported{}, fmt.Errorf("the newest checkpoint: %w", err)
	}
	cp, err := ledger.ParseCheckpoint(note, c.VerifierKey)
	if err != nil {
		return Exported{}, fmt.Errorf("the newest checkpoint does not hold: %w", err)
	}
	before, edge, err := exported(ctx, c.Dir)
	if err != nil {
		return Exported{}, err
	}
	e := export{config: c, to: cp, writer: writer{dir: c.Dir}}
	result := Exported{Checkpoint: cp, Before: before.Size}
	if err := goesOn(ctx, c, before, cp); err != nil {
		return result, err
	}
	if before.Note != nil && before.Size == cp.Size {
		return result, e.putCheckpoint(cp)
	}
	// What an export that did not end has left is used if it fits, else fetched.
	for _, reuse := range []bool{true, false} {
		e.reuse, e.reused, e.files = reuse, 0, 0
		if err = e.entries(ctx, edge.Clone()); err == nil || e.reused == 0 {
			break
		}
	}
	if err != nil {
		return result, err
	}
	result.Files = e.files
	return result, e.putCheckpoint(cp)
}

// goesOn tells whether the ledger begins with what the folder has; nil: it does.
func goesOn(ctx context.Context, c ExportConfig, before, cp ledger.Checkpoint) error {
	if before.Size > cp.Size && (before.Note == nil || before.Origin == cp.Origin) {
		return fmt.Errorf("%w: %s has a checkpoint of %d entries, the ledger one of %d: entries are missing from the ledger", ErrOtherHistory, c.Dir, before.Size, cp.Size)
	}
	err := ErrOtherHistory
	if before.Size <= cp.Size {
		err = Consistent(ctx, c.From, before, cp)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrOtherHistory) && before.Origin != cp.Origin && before.Note != nil:
		return fmt.Errorf("%w: %s has %d entries of %s, and the ledger is %s, which has not all of them: export into another folder, and keep this one",
			ErrOtherHistory, c.Dir, before.Size, before.Origin, cp.Origin)
	}
	return fmt.Errorf("%s and the ledger: %w", c.Dir, err)
}

// lockFolder keeps other exports away from the folder.
func lockFolder(dir string) (release func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Try(folder); err != nil {
		if errors.Is(err, flock.ErrHeld) {
			err = problem.New(problem.Unavailable, "another export writes into %s: wait for it", dir)
		}
		return nil, errors.Join(err, folder.Close())
	}
	return func() { _ = folder.Close() }, nil
}

// exported reads what an export before has written: its checkpoint, and the edge of
// its tree. Without a checkpoint both are empty.
func exported(ctx context.Context, dir string) (ledger.Checkpoint, *merkle.Edge, error) {
	empty, err := new(merkle.Edge).Root()
	if err != nil {
		return ledger.Checkpoint{}, nil, err
	}
	note, err := Folder(dir).File(ctx, layout.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Checkpoint{Root: empty}, new(merkle.Edge), nil
	}
	if err != nil {
		return ledger.Checkpoint{}, nil, err
	}
	bad := func(err error) error {
		return fmt.Errorf("%s is not a whole export: %w; export into another folder", dir, err)
	}
	cp, err := ledger.ParseCheckpoint(note, "")
	if err != nil {
		return ledger.Checkpoint{}, nil, bad(err)
	}
	data := binary.BigEndian.AppendUint64(nil, cp.Size)
	for _, tile := range layout.Partials(cp.Size) {
		if tile.Level == layout.Entries {
			continue
		}
		hashes, err := readTile(ctx, Folder(dir), tile)
		if err != nil {
			return cp, nil, bad(err)
		}
		data = append(data, hashes...)
	}
	edge, err := merkle.ParseEdge(data)
	if err != nil {
		return cp, nil, bad(err)
	}
	if root, err := edge.Root(); err != nil || root != cp.Root {
		return cp, nil, bad(errors.New("its tiles are not those of its checkpoint"))
	}
	return cp, edge, nil
}

// export is one run.
type export struct {
	writer
	config ExportConfig
	to     ledger.Checkpoint
	reuse  bool
	reused int // bundles that were there
	files  int
}

// entries fetches the bundles from the edge's size on, and writes them with the
// tiles above.
func (e *export) entries(ctx context.Context, edge *merkle.Edge) error {
	start := edge.Size()
	for edge.Size() < e.to.Size {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := edge.Size() / merkle.TileWidth
		tile := layout.Tile{Level: layout.Entries, N: n, Width: int(min(e.to.Size-n*merkle.TileWidth, merkle.TileWidth))}
		data, err := e.bundle(ctx, tile)
		if err != nil {
			return fmt.Errorf("%s: %w", tile.Path(), err)
		}
		if err := e.leaves(edge, tile, data); err != nil {
			return err
		}
		if e.config.Progress != nil {
			e.config.Progress(edge.Size()-start, e.to.Size-start)
		}
	}
	for _, tile := range layout.Partials(e.to.Size) {
		if tile.Level == layout.Entries {
			continue
		}
		n, hashes := edge.Partial(tile.Level)
		if n != tile.N {
			return fmt.Errorf("the edge of %d entries has no %s", e.to.Size, tile.Path())
		}
		if err := e.write(tile, hashes); err != nil {
			return err
		}
	}
	root, err := edge.Root()
	if err == nil && root != e.to.Root {
		err = fmt.Errorf("%w: the %d entries have the root %x, the checkpoint says %x: an entry is not the one that was hashed", ErrOtherHistory, e.to.Size, root, e.to.Root)
	}
	return err
}

// bundle is a bundle that is there already, or the source's.
func (e *export) bundle(ctx context.Context, tile layout.Tile) ([]byte, error) {
	if e.reuse && tile.Width == merkle.TileWidth {
		data, err := Folder(e.config.Dir).File(ctx, tile.Path())
		if _, parseErr := layout.ParseBundle(data, tile.Width); err == nil && parseErr == nil {
			e.reused++
			return data, nil
		}
	}
	return e.config.From.File(ctx, tile.Path())
}

// leaves takes one bundle in: entries that the edge has must be the same, the
// others are appended.
func (e *export) leaves(edge *merkle.Edge, tile layout.Tile, data []byte) error {
	raws, err := layout.ParseBundle(data, tile.Width)
	if err != nil {
		return fmt.Errorf("%s: %w", tile.Path(), err)
	}
	known := int(edge.Size() % merkle.TileWidth)
	_, hashes := edge.Partial(0)
	for i, raw := range raws {
		leaf := merkle.LeafHash(raw)
		if i < known {
			if [32]byte(hashes[i*merkle.HashSize:][:merkle.HashSize]) != leaf {
				return fmt.Errorf("%w: entry %d is not the one that the folder has", ErrOtherHistory, tile.N*merkle.TileWidth+uint64(i))
			}
			continue
		}
		full, err := edge.Append(leaf)
		if err != nil {
			return err
		}
		for _, each := range full {
			if err := e.write(layout.Tile{Level: each.Level, N: each.N, Width: merkle.TileWidth}, each.Hashes); err != nil {
				return err
			}
		}
	}
	return e.write(tile, data)
}

func (e *export) write(tile layout.Tile, data []byte) error {
	e.files++
	return e.put(tile.Path(), data)
}

// putCheckpoint ends an export: all else is durable first. Then partial tiles that
// have become full are removed.
func (e *export) putCheckpoint(cp ledger.Checkpoint) error {
	full := e.written
	if err := e.sync(); err != nil {
		return err
	}
	if err := e.put(layout.Checkpoint, cp.Note); err != nil {
		return err
	}
	if err := e.sync(); err != nil {
		return err
	}
	for _, name := range full {
		if filepath.Ext(filepath.Dir(name)) != ".p" {
			if err := os.RemoveAll(name + ".p"); err != nil {
				return err
			}
		}
	}
	return nil
}
