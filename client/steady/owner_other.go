//go:build !unix

package steady

import (
	"io/fs"
	"os"
)

// Whose a file is, and who may use it, is not judged here: no number names its owner, and
// its mode tells nothing. What Ours, Trusted, Shut and Kept answer is no finding: only the
// permissions of the folder, which are the admin's care, keep others away.

// Ours is true, unjudged.
func Ours(fs.FileInfo) bool { return true }

// Foreign is true: a file that nobody has named is not believed unjudged.
func Foreign(fs.FileInfo) bool { return true }

// Trusted is true, unjudged.
func Trusted(fs.FileInfo) bool { return true }

// Shut is true, unjudged.
func Shut(fs.FileInfo) bool { return true }

// Kept is true, unjudged.
func Kept(fs.FileInfo) bool { return true }

// SyncFolder does nothing: Windows refuses to flush the handle of a folder.
func SyncFolder(*os.File) error { return nil }
