package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Trusted refuses, to root, a path that another user could change or put another
// thing in the place of: it or a folder above it is somebody else's, or can be written
// by others. To every other user all paths are his own affair.
func Trusted(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, each := range []string{path, resolved} {
		for at := each; ; at = filepath.Dir(at) {
			if err := rootsOwn(at); err != nil {
				return err
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return nil
}

func rootsOwn(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	mode := info.Mode()
	byGroup, byAll := mode&0o020 != 0 && owner.Gid != 0, mode&0o002 != 0
	if owner.Uid != 0 || mode.Type() != fs.ModeSymlink && mode&fs.ModeSticky == 0 && (byGroup || byAll) {
		return fmt.Errorf("%s can be changed by others than root, who runs this: make it root's, writable by root alone, or use another path", path)
	}
	return nil
}
