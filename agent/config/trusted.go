package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many links a path may lead through.
const maxLinks = 40

// Trusted refuses, to root, a path that another user could change or put another
// thing in the place of: it, a folder on the way, or a link and the folder that it is
// in, is somebody else's, or can be written by others. To every other user all paths
// are his own affair.
func Trusted(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return walk(path, onlyOurs)
}

// Owned is Trusted for every user: others than root and he could not change the path.
// Of one that is not there yet the error is fs.ErrNotExist, if what is there is fine.
func Owned(path string) error { return walk(path, onlyOurs) }

// walk judges every step of a path, as the system goes it: link by link.
func walk(path string, judge func(path string, info fs.FileInfo) error) error {
	if !filepath.IsAbs(path) { // not cleaned: after a link, ".." is the folder above its target
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		path = here + "/" + path
	}
	at, links := "/", 0
	for rest := append([]string{"."}, strings.Split(path, "/")...); len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if err := judge(next, info); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s: there are too many links", path)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// onlyOurs refuses what others than root and the present user could change.
func onlyOurs(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New(path + ": whose it is cannot be told")
	}
	mode, us := info.Mode(), os.Geteuid()
	private := owner.Gid == 0 || us != 0 && int(owner.Gid) == us // a user's own group, by the numbers that Linux gives
	byGroup, byAll := mode&0o020 != 0 && !private, mode&0o002 != 0
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0
	if owner.Uid == 0 || int(owner.Uid) == us {
		if mode.Type() == fs.ModeSymlink || sticky || !byGroup && !byAll {
			return nil
		}
	}
	if us != 0 {
		return fmt.Errorf("%s can be changed by others than you: make it yours, writable by you alone, or use another path", path)
	}
	return fmt.Errorf("%s can be changed by others than root, who runs this: make it root's, writable by root alone, or use another path", path)
}
