package bolt

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace is how many octets the file's file system has left for this user;
// what cannot be told counts as plenty.
func freeSpace(f *os.File) uint64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Bsize <= 0 {
		return math.MaxUint64
	}
	return st.Bavail * uint64(st.Bsize)
}
