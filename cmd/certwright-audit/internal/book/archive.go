package book

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// cutAt is the state after the first entries of the copy, as many as keep says. What
// was recorded in later ones stays in the list of intents, under its epoch.
func (f *Follower) cutAt(keep uint64) (*state, error) {
	s := f.state
	next := &state{
		Version: stateVersion, Certificates: s.Certificates, Intents: s.Intents, edge: &merkle.Edge{},
		Policies: slices.DeleteFunc(slices.Clone(s.Policies), func(index uint64) bool { return index >= keep }),
		Epochs:   slices.DeleteFunc(slices.Clone(s.Epochs), func(each opening) bool { return each.Index >= keep }),
	}
	was := view{f.mirror.hashes(s.edge), s.edge.Size()}
	for next.edge.Size() < keep {
		leaves, err := was.leaves(next.edge.Size(), min(keep, next.edge.Size()+merkle.TileWidth))
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			if _, err := next.edge.Append(leaf); err != nil {
				return nil, err
			}
		}
	}
	if len(next.Policies) > 0 {
		e, err := f.parsed(next.Policies[len(next.Policies)-1])
		if err != nil {
			return nil, err
		}
		p, err := entry.ParsePolicyChange(e.Draft)
		if err != nil {
			return nil, err
		}
		next.Policy = p.Document
	}
	if keep > 0 {
		// An entry that cannot be read was reported, and has no time.
		if e, err := f.parsed(keep - 1); err == nil {
			next.LastTime = e.Time.UnixMilli()
		}
	}
	return next, nil
}

// parsed is an entry of the copy.
func (f *Follower) parsed(index uint64) (entry.Entry, error) {
	raw, err := f.entry(index)
	if err != nil {
		return entry.Entry{}, err
	}
	return entry.Parse(raw)
}

// archive keeps the copy of an epoch that has ended apart, whole, and goes on with as
// much of it as the edge says; it returns where it is.
func (m *mirror) archive(epoch uint64, edge *merkle.Edge) (string, error) {
	to := m.epoch(epoch)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return "", err
	}
	err := move(m.dir, to)
	if err == nil {
		err = m.share(to, edge)
	}
	m.stale = nil // there is nothing else yet
	if err == nil {
		err = errors.Join(syncDir(to), syncDir(filepath.Dir(to)), m.flush(), syncDir(m.dir))
	}
	if err != nil {
		return "", errors.Join(err, m.restore(epoch))
	}
	return to, nil
}

// share begins a copy with the first entries of another.
func (m *mirror) share(from string, edge *merkle.Edge) error {
	full := edge.Size() / merkle.TileWidth
	for n := range full {
		if err := m.link(from, bundlePath(n, merkle.TileWidth)); err != nil {
			return err
		}
	}
	for level := 0; full > 0; level, full = level+1, full/merkle.TileWidth {
		for n := range full {
			if err := m.link(from, tilePath(level, n, merkle.TileWidth)); err != nil {
				return err
			}
		}
	}
	n := edge.Size() / merkle.TileWidth
	width := int(edge.Size() % merkle.TileWidth)
	if width == 0 {
		return m.partial(edge)
	}
	data, err := m.bundle(from, n)
	if err != nil {
		return err
	}
	entries, err := splitBundle(data)
	if err != nil {
		return err
	}
	if len(entries) < width {
		return fmt.Errorf("the copy in %s has only %d entries of bundle %d", from, len(entries), n)
	}
	if data, err = joinBundle(entries[:width]); err != nil {
		return err
	}
	return errors.Join(m.write(bundlePath(n, width), data), m.partial(edge))
}

// bundle is a bundle of another copy, in whatever width it has it.
func (m *mirror) bundle(from string, n uint64) ([]byte, error) {
	path := filepath.Join(from, filepath.FromSlash(bundlePath(n, merkle.TileWidth)))
	data, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	partial, err := os.ReadDir(path + ".p")
	if err != nil {
		return nil, err
	}
	for _, file := range partial { // after a crash there may be more than one
		some, err := os.ReadFile(filepath.Join(path+".p", file.Name()))
		if err != nil {
			return nil, err
		}
		if len(some) > len(data) {
			data = some
		}
	}
	return data, nil
}

// link takes a file over from another copy. Files are replaced, and never written into.
func (m *mirror) link(from, name string) error {
	source, path := filepath.Join(from, filepath.FromSlash(name)), filepath.Join(m.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	m.touched(path)
	if os.Link(source, path) == nil {
		return nil
	}
	data, err := os.ReadFile(source) // a file system without links
	if err != nil {
		return err
	}
	return m.write(name, data)
}

// restore undoes an archive that was not finished.
func (m *mirror) restore(epoch uint64) error {
	from := m.epoch(epoch)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := move(from, m.dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(from), syncDir(m.dir))
}

func (m *mirror) epoch(epoch uint64) string {
	return filepath.Join(m.dir, epochsFolder, fmt.Sprintf("%04d", epoch))
}

// move puts a copy in the place of another.
func move(from, to string) error {
	for _, name := range []string{"tile", "checkpoint"} {
		source, path := filepath.Join(from, name), filepath.Join(to, name)
		if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Rename(source, path); err != nil {
			return err
		}
	}
	return nil
}
