package diskfault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Kind is what a call does.
type Kind string

// The kinds of calls.
const (
	Write    Kind = "write"    // pwrite64
	Sync     Kind = "sync"     // fsync, fdatasync
	Truncate Kind = "truncate" // ftruncate
	Rename   Kind = "rename"
	Link     Kind = "link"
	Remove   Kind = "remove"
	Space    Kind = "space" // fstatfs
	Mark     Kind = "mark"  // unlinkat of what is not there: see Say
)

// Call is one call: before it takes effect, but for a Sync that is recorded, which
// has its place where it was done.
type Call struct {
	N      int    // its place among the folder's calls, from 0
	Kind   Kind   //
	Path   string // of the file, relative to the folder; "." is the folder
	To     string // Rename, Link: the new path, likewise
	File   int    // a number of the file, whatever its path; 0: there is none
	Folder bool   // it is a folder
	Offset int64  // Write
	Data   []byte // Write
	Size   int64  // Truncate
	Begun  int    // Sync: what came up to this place is covered by it
}

func (c Call) String() string {
	switch c.Kind {
	case Write:
		return fmt.Sprintf("call %d: write %d octets to %s at %d", c.N, len(c.Data), c.Path, c.Offset)
	case Truncate:
		return fmt.Sprintf("call %d: truncate %s to %d", c.N, c.Path, c.Size)
	case Rename, Link:
		return fmt.Sprintf("call %d: %s %s to %s", c.N, c.Kind, c.Path, c.To)
	case Sync, Remove, Space, Mark:
	}
	return fmt.Sprintf("call %d: %s %s", c.N, c.Kind, c.Path)
}

// Changes tells whether the call changes or syncs something.
func (c Call) Changes() bool { return c.Kind != Space && c.Kind != Mark }

// Say is for the process behind the disk: it puts a word between its calls, in
// their order, such as what it has just acknowledged. The word becomes the Path of
// a Mark; no file of this path may be there.
func Say(folder, word string) error {
	if err := os.Remove(filepath.Join(folder, word)); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("say %s: %w", word, err)
	}
	return nil
}
