//go:build unix

package steady

import (
	"io/fs"
	"os"
	"syscall"
)

// Ours tells whether a file is the present user's.
func Ours(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Geteuid()
}

// trusted tells whether a link or folder is root's or our own.
func trusted(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && owner.Uid == 0 || Ours(info)
}

// shut tells whether only its owner may use a file.
func shut(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
