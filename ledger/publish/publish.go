// Package publish gives the ledger away in the form of C2SP tlog-tiles: the files
// that are served over https, that an export writes into a folder, and from which
// two checkpoints are shown to be of one history.
package publish

import (
	"context"
	"fmt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// bundles is how many bundles of entries may be made at once: one can have 16 MiB.
const bundles = 16

// Config of a Publisher.
type Config struct {
	Store storage.LedgerReader
	// Checkpoint is the newest published checkpoint; nothing beyond it is given away.
	Checkpoint func(context.Context) (ledger.Checkpoint, error)
}

// Publisher makes the files of a ledger out of its store. Its methods may be
// called by many goroutines at once.
type Publisher struct {
	config Config
	places chan struct{}
}

// New makes a Publisher.
func New(c Config) *Publisher {
	return &Publisher{config: c, places: make(chan struct{}, bundles)}
}

// File is one file by its path: "checkpoint", or a tile's. Errors: problem.NotFound
// for any other path and for what the newest checkpoint does not cover;
// problem.Overloaded if too many bundles are being made.
func (p *Publisher) File(ctx context.Context, path string) ([]byte, error) {
	cp, err := p.config.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if cp.Note == nil {
		return nil, problem.New(problem.NotFound, "there is no checkpoint yet: try again in a second")
	}
	if path == layout.Checkpoint {
		return cp.Note, nil
	}
	tile, err := layout.ParsePath(path)
	if err != nil {
		return nil, &problem.Problem{
			Kind: problem.NotFound, Detail: err.Error(), Help: "the paths are checkpoint, tile/LEVEL/NUMBER and tile/entries/NUMBER, by C2SP tlog-tiles",
		}
	}
	if !tile.In(cp.Size) {
		return nil, problem.New(problem.NotFound, "the newest checkpoint covers %d entries: its tree is not as wide as %s", cp.Size, path)
	}
	if tile.Level == layout.Entries {
		return p.bundle(ctx, tile)
	}
	data, err := p.config.Store.Tile(ctx, tile.Level, tile.N, tile.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// bundle reads the entries of one bundle.
func (p *Publisher) bundle(ctx context.Context, tile layout.Tile) ([]byte, error) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	default:
		return nil, problem.New(problem.Overloaded, "too many bundles of entries are being read: try again in a moment")
	}
	first := tile.N * merkle.TileWidth
	var data []byte
	for done := 0; done < tile.Width; {
		raws, err := p.config.Store.Entries(ctx, first+uint64(done), tile.Width-done)
		if err == nil && len(raws) == 0 {
			err = storage.ErrNotFound
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", first+uint64(done), err)
		}
		for _, raw := range raws {
			if data, err = layout.AppendEntry(data, raw); err != nil {
				return nil, fmt.Errorf("entry %d: %w", first+uint64(done), err)
			}
			done++
		}
	}
	return data, nil
}

// Source gives files of a published ledger by their paths; what it gives is not
// trusted. Publisher, Folder and a client of a server are sources.
type Source interface {
	File(ctx context.Context, path string) ([]byte, error)
}

// limit is the most octets that a file of this path can have.
func limit(path string) int64 {
	tile, err := layout.ParsePath(path)
	switch {
	case err != nil:
		return ledger.MaxNote
	case tile.Level == layout.Entries:
		return int64(tile.Width) * (2 + entry.MaxSize)
	}
	return int64(tile.Width) * merkle.HashSize
}
