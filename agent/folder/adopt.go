package folder

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/certwright/certwright/client"
)

// Adopt takes over a certificate that was put under the files' names by others, as
// plain files: it becomes the first generation, and links take the files' place, with
// the same content. It answers nil if there is nothing to take over, and an error if
// the files do not hold a key with its certificate.
func (f *Folder) Adopt() (*Held, error) {
	root, err := os.OpenRoot(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Lstat(current); err == nil {
		// A process that died while it adopted has left plain files of the same content.
		if h, err := f.Held(); err == nil && h != nil && f.same(root, h) {
			return nil, f.replace(root)
		}
		return nil, nil
	}
	texts, err := f.plain(root)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, nil
	}
	h, err := f.collect(texts)
	if err != nil {
		return nil, err
	}
	if err := f.swap(root, h); err != nil {
		return nil, err
	}
	return h, f.replace(root)
}

// plain are the contents of the plain files under the names, chains first.
func (f *Folder) plain(root *os.Root) ([][]byte, error) {
	var texts [][]byte
	for _, name := range f.names() {
		if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := readAll(root, name)
		if err != nil {
			return nil, err
		}
		if name == f.Files.Combined || name == f.Files.Fullchain {
			texts = slices.Insert(texts, 0, text)
		} else {
			texts = append(texts, text)
		}
	}
	return texts, nil
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
	key, err := client.EncodeKey(h.Key)
	if err != nil {
		return false
	}
	for _, block := range append(blocks(key), blocks(chainPEM(h.Chain))...) {
		have[block] = true
	}
	for _, name := range f.names() {
		info, err := root.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := readAll(root, name)
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

// replace puts the links in the place of the files.
func (f *Folder) replace(root *os.Root) error {
	for _, name := range f.names() {
		if _, err := root.Readlink(name); err == nil {
			continue
		}
		if err := relink(root, path.Join(current, name), name); err != nil {
			return err
		}
	}
	return syncFolder(root, ".")
}
