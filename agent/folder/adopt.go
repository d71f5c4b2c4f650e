package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/certwright/certwright/client/steady"
)

// aside is where files of others are kept, under a second name, that a new certificate
// may take the place of.
const aside = ".aside"

// Refused is why a certificate that others put under the files' names is not taken
// over: a new one, with a new key, takes its place. The old files stay in Kept.
type Refused struct {
	Kept string
	Err  error
}

// Error says why.
func (r *Refused) Error() string {
	return fmt.Sprintf("the certificate that was in the folder is not taken over, its files are kept in %s: %v", r.Kept, r.Err)
}

// Unwrap is the cause.
func (r *Refused) Unwrap() error { return r.Err }

// Adopt takes over a certificate that was put under the files' names by others, as
// plain files, if the judge has nothing against it and nobody else can know its key: it
// becomes the first generation, and links take the files' place, with the same content.
// It answers nil if there is nothing to take over, Refused if it must not be, and
// another error if the files do not hold a key with its certificate.
func (f *Folder) Adopt(judge func(*Held) error) (*Held, error) {
	root, err := steady.Open(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Lstat(current); err == nil {
		// A process that died while it adopted has left plain files of the same content.
		if h, err := f.held(root); err == nil && h != nil && f.same(root, h) {
			return nil, f.links(root, nil)
		}
		return nil, nil
	}
	texts, known, err := f.plain(root)
	if err != nil || len(texts) == 0 {
		return nil, err
	}
	h, err := f.collect(texts)
	if err != nil {
		return nil, err
	}
	h.Adopted = true
	if err := errors.Join(known, judge(h)); err != nil {
		return nil, f.refuse(root, err)
	}
	if err := f.swap(root, h); err != nil {
		return nil, err
	}
	return h, f.links(root, nil)
}

// plain are the contents of the plain files under the names, chains first. Known is why
// somebody else may know the key in them.
func (f *Folder) plain(root *os.Root) (texts [][]byte, known, err error) {
	for _, name := range f.names() {
		if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, info, err := steady.Read(root, name, maxHeld)
		if err != nil {
			return nil, nil, err
		}
		if err := f.secret(info, name == f.Files.Key || name == f.Files.Combined); err != nil {
			known = errors.Join(known, fmt.Errorf("%s: %w", f.Path(name), err))
		}
		if name == f.Files.Combined || name == f.Files.Fullchain {
			texts = slices.Insert(texts, 0, text)
		} else {
			texts = append(texts, text)
		}
	}
	return texts, known, nil
}

// secret is nil for a file that only the agent's user can have written, and, if there
// is a key in it, read, but for the group that is to read it anyway.
func (f *Folder) secret(info fs.FileInfo, key bool) error {
	bits := info.Mode().Perm()
	switch owner, ok := info.Sys().(*syscall.Stat_t); {
	case !steady.Ours(info):
		return errors.New("it is the file of another user")
	case bits&0o022 != 0:
		return fmt.Errorf("others can write to it (%04o)", bits)
	case key && bits&0o007 != 0, key && bits&0o040 != 0 && (f.Mode&0o040 == 0 || !ok || int(owner.Gid) != f.GID):
		return fmt.Errorf("the key in it is readable by others (%04o)", bits)
	}
	return nil
}

// refuse keeps the plain files under a second name, so that nothing is lost when a new
// certificate takes their place.
func (f *Folder) refuse(root *os.Root, why error) error {
	inside, err := steady.Inside(root, aside)
	if errors.Is(err, fs.ErrNotExist) {
		inside, err = steady.New(root, aside, 0o700)
	}
	if err != nil {
		return errors.Join(why, err)
	}
	defer func() { _ = inside.Close() }()
	for _, name := range f.names() {
		if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() || isAside(root, name) {
			continue
		}
		if err := inside.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(why, err)
		}
		if err := root.Link(name, aside+"/"+name); err != nil {
			return errors.Join(why, err)
		}
	}
	if err := errors.Join(steady.Sync(inside), steady.Sync(root)); err != nil {
		return errors.Join(why, err)
	}
	return &Refused{Kept: f.Path(aside), Err: why}
}

// isAside tells whether a file is kept under a second name.
func isAside(root *os.Root, name string) bool {
	here, err := root.Lstat(name)
	if err != nil || !here.Mode().IsRegular() {
		return false
	}
	there, err := root.Lstat(aside + "/" + name)
	return err == nil && os.SameFile(here, there)
}

// collect is the certificate in the files, whichever there are.
func (f *Folder) collect(texts [][]byte) (*Held, error) {
	// Fullchain and combined stand first; what the others repeat does not count.
	var whole []byte
	for _, text := range texts {
		for _, block := range blocks(text) {
			if !slices.ContainsFunc(blocks(whole), func(b string) bool { return b == block }) {
				whole = append(whole, block...)
			}
		}
	}
	return ParseHeld(whole)
}

// same tells whether every plain file under one of the names holds what h is.
func (f *Folder) same(root *os.Root, h *Held) bool {
	have := map[string]bool{}
	for _, block := range h.blocks() {
		have[block] = true
	}
	for _, name := range f.names() {
		info, err := root.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, _, err := steady.Read(root, name, maxHeld)
		if err != nil {
			return false
		}
		for _, block := range blocks(text) {
			if !have[block] {
				return false
			}
		}
	}
	return true
}
