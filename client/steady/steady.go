// Package steady works with folders that others may write into, too: what they do
// there meanwhile leads nothing elsewhere. A folder is opened once and all is done
// through that handle; links on the way to it are followed only if they are root's
// or our own and nobody else could change them, and links in it never; a file is nobody else's while it is written.
package steady

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many links a path may lead through.
const maxLinks = 40

// Open opens a folder. A link on the way is followed if it is root's or our own.
func Open(path string) (*os.Root, error) { return walk(path, 0) }

// Make is Open of a folder that is made if it is not there, with these permissions
// whatever the umask is, and so are the folders that it is in.
func Make(path string, mode fs.FileMode) (*os.Root, error) { return walk(path, mode) }

func walk(path string, mode fs.FileMode) (*os.Root, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	top := filepath.VolumeName(path) + string(filepath.Separator)
	at, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	stack := []*os.Root{at}
	defer func() {
		for _, each := range stack {
			_ = each.Close()
		}
	}()
	rest := split(path[len(top):])
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		at := stack[len(stack)-1]
		if name == ".." {
			if len(stack) > 1 {
				_ = at.Close()
				stack = stack[:len(stack)-1]
			}
			continue
		}
		target, err := at.Readlink(name)
		if err != nil {
			next, err := enter(at, name, mode)
			if errors.Is(err, fs.ErrPermission) && len(rest) > 0 && passage(at, name) {
				return direct(filepath.Join(append([]string{at.Name(), name}, rest...)...), mode)
			}
			if err != nil {
				return nil, err
			}
			stack = append(stack, next)
			continue
		}
		links++
		if err := follows(at, name, links); err != nil {
			return nil, err
		}
		if filepath.IsAbs(target) {
			for _, each := range stack[1:] {
				_ = each.Close()
			}
			stack = stack[:1]
		}
		rest = append(split(target), rest...)
	}
	last := stack[len(stack)-1]
	stack = stack[:len(stack)-1]
	return last, nil
}

// passage tells whether a folder is one that may be gone through and not be opened, such
// as a /home of mode 0711, and that others do not change.
func passage(at *os.Root, name string) bool {
	info, err := at.Lstat(name)
	return err == nil && info.IsDir() && Trusted(info) && info.Mode().Perm()&0o022 == 0 && os.Geteuid() != 0
}

// direct opens a folder by its path, as there is no handle of a folder above it: what
// others may change on the way below that is not noticed.
func direct(path string, mode fs.FileMode) (*os.Root, error) {
	if mode != 0 {
		if err := os.MkdirAll(path, mode); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(path)
}

// follows refuses a link that others have made, or could have put another in the place
// of since it was read.
func follows(at *os.Root, name string, links int) error {
	path := filepath.Join(at.Name(), name)
	if links > maxLinks {
		return fmt.Errorf("%s: there are too many links", path)
	}
	own, err := at.Lstat(name)
	if err != nil {
		return err
	}
	dir, err := at.Stat(".")
	if err != nil {
		return err
	}
	if !Trusted(own) || !Trusted(dir) || dir.Mode().Perm()&0o022 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s is a link of somebody else's, or could be: it is not followed", path)
	}
	return nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(path), "/"), func(name string) bool { return name == "" || name == "." })
}

// enter opens a folder, which is made first if mode is not 0.
func enter(at *os.Root, name string, mode fs.FileMode) (*os.Root, error) {
	if mode != 0 {
		next, err := New(at, name, mode)
		if err == nil {
			if err = Sync(at); err != nil {
				_ = next.Close()
				return nil, err
			}
			return next, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return Inside(at, name)
}

// change gives a folder these permissions.
func change(root *os.Root, mode fs.FileMode) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Chmod(mode), dir.Close())
}

// Inside opens a folder in a folder, and no link to one.
func Inside(at *os.Root, name string) (*os.Root, error) {
	seen, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(at.Name(), name), Err: syscall.ENOTDIR}
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if have, err := next.Stat("."); err != nil || !os.SameFile(seen, have) {
		_ = next.Close()
		return nil, errors.Join(err, fmt.Errorf("%s was changed meanwhile", filepath.Join(at.Name(), name)))
	}
	return next, nil
}

// New makes a folder in a folder. It must not be there.
func New(at *os.Root, name string, mode fs.FileMode) (*os.Root, error) {
	if err := at.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	next, err := Inside(at, name)
	if err != nil {
		return nil, err
	}
	if err := settle(next, mode); err != nil {
		_ = next.Close()
		return nil, err
	}
	return next, nil
}

// settle gives a folder that was just made its permissions, unless it is no longer that
// which was made: another user's, or one that was there before with other permissions.
func settle(made *os.Root, mode fs.FileMode) error {
	info, err := made.Stat(".")
	if err != nil {
		return err
	}
	if !Ours(info) || !Shut(info) {
		return fmt.Errorf("%s was changed meanwhile", made.Name())
	}
	return change(made, mode)
}

// File is what a file is to be.
type File struct {
	Data     []byte
	Mode     fs.FileMode
	UID, GID int // -1: our own
}

// Plain is a file of our own.
func Plain(data []byte, mode fs.FileMode) File { return File{Data: data, Mode: mode, UID: -1, GID: -1} }

// Create writes a file that must not be there, durably. Until it is whole nobody else
// can open it.
func Create(at *os.Root, name string, want File) error {
	file, err := at.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(want.Data)
	if err == nil && (want.UID >= 0 || want.GID >= 0) {
		err = file.Chown(want.UID, want.GID)
	}
	if err == nil {
		err = file.Chmod(want.Mode)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// Replace is Create of a file that takes the place of what has its name, at once and
// durably.
func Replace(at *os.Root, name string, want File) error {
	temporary := "." + name + "-" + rand.Text()
	if err := Create(at, temporary, want); err != nil {
		_ = at.Remove(temporary)
		return err
	}
	if err := at.Rename(temporary, name); err != nil {
		_ = at.Remove(temporary)
		return err
	}
	return Sync(at)
}

// ErrTooLarge is what is not read.
var ErrTooLarge = errors.New("the file is too large")

// Read reads a regular file of at most so many bytes, and no link. Info is that of what
// was read.
func Read(at *os.Root, name string, most int64) ([]byte, fs.FileInfo, error) {
	path := filepath.Join(at.Name(), name)
	seen, err := at.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := at.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !os.SameFile(seen, info) {
		return nil, nil, fmt.Errorf("%s was changed meanwhile", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrTooLarge, most)
	}
	return data, info, err
}

// ReadSecret is Read of a file that only we can have written, and read.
func ReadSecret(at *os.Root, name string, most int64) ([]byte, fs.FileInfo, error) {
	data, info, err := Read(at, name, most)
	if err != nil {
		return nil, nil, err
	}
	if err := Secret(info); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Join(at.Name(), name), err)
	}
	return data, info, nil
}

// Secret is nil if only we can have written and read the file.
func Secret(info fs.FileInfo) error {
	switch {
	case !Ours(info):
		return fmt.Errorf("it is the file of another user, who knows the key in it")
	case !Shut(info):
		return fmt.Errorf("its permissions are %04o: the key in it was readable by others", info.Mode().Perm())
	}
	return nil
}

// Sync makes what was done to the names in a folder durable.
func Sync(at *os.Root) error {
	dir, err := at.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(SyncFolder(dir), dir.Close())
}
