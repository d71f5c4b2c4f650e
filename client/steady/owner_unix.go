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

// Foreign tells whether a file is another user's than root's and our own, or can be
// written by others. A user's own group is that with his number, as Linux gives them.
func Foreign(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	shared := ok && info.Mode().Perm()&0o020 != 0 && owner.Gid != 0 && int(owner.Gid) != os.Geteuid()
	return shared || !Trusted(info) || info.Mode().Perm()&0o002 != 0
}

// Trusted tells whether a link, file or folder is root's or our own.
func Trusted(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && owner.Uid == 0 || Ours(info)
}

// Shut tells whether only its owner may use a file.
func Shut(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }

// Kept tells whether only its owner may change a file, or what is in a folder.
func Kept(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 == 0 }

// SyncFolder makes what was done to the names in an open folder durable.
func SyncFolder(dir *os.File) error { return dir.Sync() }
