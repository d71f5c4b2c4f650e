package diskfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// read reads a call. content is what a file holds that was written by calls that
// are not seen; nil if it is as it was seen.
func (d *Disk) read(n *notification) (c Call, content []byte, ours bool, err error) {
	switch int(n.number) {
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_UNLINKAT:
		return d.readNames(n)
	}
	link := fmt.Sprintf("/proc/%d/fd/%d", n.thread, int32(n.args[0]))
	target, err := os.Readlink(link)
	if err != nil {
		return c, nil, false, err
	}
	if c.Path, ours = d.inside(target); !ours {
		return c, nil, false, nil
	}
	info, err := os.Stat(link)
	if err != nil {
		return c, nil, true, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() { // a socket: it holds nothing that a power cut could take
		return c, nil, true, nil
	}
	k := d.number(inode(info))
	c.File, c.Folder = k.number, info.IsDir()
	switch int(n.number) {
	case unix.SYS_PWRITE64:
		c.Kind, c.Offset, c.Data = Write, int64(n.args[3]), make([]byte, n.args[2])
		err = peek(n, n.args[1], c.Data)
	case unix.SYS_FTRUNCATE:
		c.Kind, c.Size = Truncate, int64(n.args[1])
	case unix.SYS_FSTATFS:
		c.Kind = Space
	default:
		c.Kind = Sync
		content, err = k.unseen(link)
	}
	k.seen = k.seen || c.Kind == Write || c.Kind == Truncate
	return c, content, true, err
}

// readNames reads a call that is about names.
func (d *Disk) readNames(n *notification) (c Call, content []byte, ours bool, err error) {
	if int(n.number) == unix.SYS_UNLINKAT && n.args[2]&unix.AT_REMOVEDIR != 0 {
		return c, nil, false, nil // empty folders are not recorded
	}
	from, err := name(n, 0)
	if err != nil {
		return c, nil, false, err
	}
	c.Kind = Remove
	if c.Path, ours = d.inside(from); !ours {
		return c, nil, false, nil
	}
	if int(n.number) != unix.SYS_UNLINKAT {
		to, err := name(n, 2)
		if err != nil {
			return c, nil, true, err
		}
		if c.Kind = Rename; int(n.number) == unix.SYS_LINKAT {
			c.Kind = Link
		}
		if c.To, ours = d.inside(to); !ours {
			return c, nil, true, fmt.Errorf("%s %s out of the folder", c.Kind, from)
		}
	}
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		c.Kind = Mark
		return c, nil, true, nil
	}
	if err != nil {
		return c, nil, true, err
	}
	content, err = d.named(&c, from, info)
	return c, content, true, err
}

// named says which file a call about names means, and what is in it that was not
// seen. A socket is none: it holds nothing that a power cut could take.
func (d *Disk) named(c *Call, path string, info os.FileInfo) ([]byte, error) {
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, nil
	}
	k := d.number(inode(info))
	c.File, c.Folder = k.number, info.IsDir()
	if c.Kind == Remove {
		d.forget(info)
		return nil, nil
	}
	if victim, err := os.Lstat(filepath.Join(d.Folder, c.To)); err == nil && c.Kind == Rename {
		d.forget(victim)
	}
	return k.unseen(path)
}

// unseen is the content of a regular file whose writes are not seen, if it has
// changed its length since it was looked at.
func (k *known) unseen(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || k.seen || k.length == int(info.Size()) {
		return nil, err
	}
	content, err := os.ReadFile(path)
	k.length = len(content)
	return content, err
}

// inside is a path relative to the folder, if it lies in it.
func (d *Disk) inside(path string) (string, bool) {
	rel, err := filepath.Rel(d.Folder, strings.TrimSuffix(path, " (deleted)"))
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func inode(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// name reads the path at two arguments: folder and name.
func name(n *notification, at int) (string, error) {
	var text []byte
	for chunk := make([]byte, 64); len(text) < unix.PathMax && bytes.IndexByte(text, 0) < 0; {
		// Not over the end of a page: the next one may not be there.
		from := n.args[at+1] + uint64(len(text))
		part := chunk[:min(64, 4096-from%4096)]
		if err := peek(n, from, part); err != nil {
			return "", err
		}
		text = append(text, part...)
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	path := string(text)
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	base := fmt.Sprintf("/proc/%d/cwd", n.thread)
	if folder := int32(n.args[at]); folder != unix.AT_FDCWD {
		base = fmt.Sprintf("/proc/%d/fd/%d", n.thread, folder)
	}
	folder, err := os.Readlink(base)
	return filepath.Join(folder, path), err
}

// peek reads the memory of the caller.
func peek(n *notification, at uint64, into []byte) error {
	if len(into) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &into[0], Len: uint64(len(into))}}
	got, err := unix.ProcessVMReadv(int(n.thread), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(into)}}, 0)
	if err == nil && got != len(into) {
		err = fmt.Errorf("%d octets of %d read", got, len(into))
	}
	return err
}

// tellSpace answers fstatfs: the truth, but for the free space.
func tellSpace(n *notification, free uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/fd/%d", n.thread, int32(n.args[0])), &st); err != nil {
		return err
	}
	st.Bavail = free / uint64(st.Bsize)
	st.Bfree = st.Bavail
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st)) //nolint:gosec // the octets that the call fills in
	local := []unix.Iovec{{Base: &raw[0], Len: uint64(len(raw))}}
	_, err := unix.ProcessVMWritev(int(n.thread), local, []unix.RemoteIovec{{Base: uintptr(n.args[1]), Len: len(raw)}}, 0)
	return err
}
