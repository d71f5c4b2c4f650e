package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many links are followed on the way to a file, as by Linux.
const maxLinks = 40

// Trusted refuses, to root, a path that another user could change or put another
// thing in the place of: it, a folder above it, or a link on the way is somebody else's,
// or can be written by others. To every other user all paths are his own affair.
func Trusted(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, todo := "/", steps(path)
	if err := rootsOwn(at); err != nil {
		return err
	}
	for links := 0; len(todo) > 0; {
		next := filepath.Join(at, todo[0])
		todo = todo[1:]
		if err := rootsOwn(next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if err != nil { // no link
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s: there are too many links", path)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(steps(target), todo...)
	}
	return nil
}

// steps are the names on a path, one after the other.
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
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
