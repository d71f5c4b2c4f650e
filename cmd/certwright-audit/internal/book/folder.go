package book

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/certwright/certwright/plainfile"
)

// Folder is a ledger that was written into a folder: an export, or another
// auditor's copy.
type Folder string

// Read implements Source.
func (f Folder) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q is not a name inside the folder", name)
	}
	return plainfile.Read(filepath.Join(string(f), filepath.FromSlash(name)), limit)
}

func (f Folder) String() string { return string(f) }

// readAtMost reads all there is, up to a limit.
func readAtMost(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d octets", name, limit)
	}
	return data, nil
}
