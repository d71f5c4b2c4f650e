package folder

import (
	"os"
	"path"
	"syscall"

	"github.com/certwright/certwright/client/steady"
)

// Fits tells whether the present generation has the files, permissions and owners
// that are wanted. If it has not, Publish makes one of the same certificate.
func (f *Folder) Fits() bool {
	root, err := steady.Open(f.Dir)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	for _, name := range f.names() {
		if target, err := root.Readlink(name); err != nil || target != path.Join(current, name) {
			return false
		}
		info, err := root.Stat(name)
		if err != nil {
			return false
		}
		want := f.PublicMode
		if name == f.Files.Key || name == f.Files.Combined {
			want = f.Mode
		}
		if info.Mode().Perm() != want || !f.owned(info) {
			return false
		}
	}
	return true
}

func (f *Folder) owned(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || (f.UID < 0 || stat.Uid == uint32(f.UID)) && (f.GID < 0 || stat.Gid == uint32(f.GID))
}
