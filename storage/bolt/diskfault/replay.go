package diskfault

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Recording is what happened to a folder.
type Recording struct {
	Before map[string][]byte // its files by path, all durable, before the first call
	Calls  []Call            // what changed or synced something, in order
	Marks  []Call            // what the process said
	Count  int               // of all calls that were counted, those not recorded included
}

// Cut is a moment of a power cut.
type Cut struct {
	// Count is how many of the calls had happened: what was observed when
	// Disk.Count was not more than this must have survived.
	Count int
	state *state
}

// Cuts visits the moments before the first call, between any two, and after the
// last. A cut is good during its visit. An error of visit ends it.
func (r Recording) Cuts(visit func(Cut) error) error {
	s := newState(r.Before)
	for _, c := range r.Calls {
		if err := visit(Cut{Count: c.N, state: s}); err != nil {
			return fmt.Errorf("power cut before %s: %w", c, err)
		}
		s.apply(c)
	}
	if err := visit(Cut{Count: r.Count, state: s}); err != nil {
		return fmt.Errorf("power cut at the end: %w", err)
	}
	return nil
}

// sector is what a disk writes whole or not at all.
const sector = 512

// Fate is what becomes of what is not synced.
type Fate struct {
	// Write tells which sectors of a write reach the disk; a sector is any number
	// from 0. nil: none.
	Write func(c Call) func(sector int) bool
	// Names is how many of n changes of names, made in one folder one after the
	// other, reach the disk. nil: none.
	Names func(n int) int
}

// Lost loses all that is not synced.
func Lost() Fate { return Fate{} }

// Applied has all of it on the disk.
func Applied() Fate {
	return Fate{
		Write: func(Call) func(int) bool { return func(int) bool { return true } },
		Names: func(n int) int { return n },
	}
}

// Torn draws: a write is lost, applied, cut off after some sectors, or has any of
// them.
func Torn(random *rand.Rand) Fate {
	return Fate{
		Names: func(n int) int { return random.IntN(n + 1) },
		Write: func(c Call) func(int) bool {
			switch random.IntN(4) {
			case 0:
				return func(int) bool { return false }
			case 1:
				return func(int) bool { return true }
			case 2:
				end := random.IntN(len(c.Data)/sector + 1)
				return func(n int) bool { return n < end }
			}
			return func(int) bool { return random.IntN(2) == 0 }
		},
	}
}

// state is a folder as it is on the disk, and what is on its way there.
type state struct {
	names   map[string]int // path to file
	files   map[int]*file
	pending []Call // of names
}

type file struct {
	content []byte
	pending []Call // Write and Truncate
}

func newState(before map[string][]byte) *state {
	s := &state{names: map[string]int{}, files: map[int]*file{}}
	for i, path := range slices.Sorted(maps.Keys(before)) {
		s.names[path] = -1 - i // until a call names its number
		s.files[-1-i] = &file{content: before[path]}
	}
	return s
}

// file finds the file of a call, which may be seen for the first time: it was
// there before, or is new under its path.
func (s *state) file(c Call) *file {
	if f := s.files[c.File]; f != nil {
		return f
	}
	if old, ok := s.names[c.Path]; ok && old < 0 {
		f := s.files[old]
		f.content = slices.Clone(f.content)
		delete(s.files, old)
		s.names[c.Path], s.files[c.File] = c.File, f
		return f
	}
	s.files[c.File] = &file{}
	s.pending = append(s.pending, Call{N: c.N, Kind: created, Path: c.Path, File: c.File})
	return s.files[c.File]
}

// created is the making of a name, which is inferred.
const created Kind = "created"

func (s *state) apply(c Call) {
	switch {
	case c.Kind == Write || c.Kind == Truncate:
		f := s.file(c)
		f.pending = append(f.pending, c)
	case c.Kind == Sync && !c.Folder:
		f := s.file(c)
		n := 0
		for ; n < len(f.pending) && f.pending[n].N <= c.Begun; n++ {
			f.content = f.pending[n].on(f.content, func(int) bool { return true })
		}
		f.pending = f.pending[n:]
	case c.Kind == Sync:
		s.syncFolder(c)
	case c.Kind == Rename || c.Kind == Link || c.Kind == Remove:
		if c.File != 0 && !c.Folder {
			s.file(c)
		}
		s.pending = append(s.pending, c)
	}
}

// syncFolder makes the names in a folder durable.
func (s *state) syncFolder(c Call) {
	var left []Call
	for _, p := range s.pending {
		if p.N <= c.Begun && (filepath.Dir(p.Path) == c.Path || p.To != "" && filepath.Dir(p.To) == c.Path) {
			p.rename(s.names)
		} else {
			left = append(left, p)
		}
	}
	s.pending = left
}

// on is a content after the call, as far as its sectors arrive.
func (c Call) on(content []byte, arrives func(sector int) bool) []byte {
	if c.Kind == Truncate {
		if !arrives(0) {
			return content
		}
		if c.Size <= int64(len(content)) {
			return content[:c.Size]
		}
		return append(content, make([]byte, c.Size-int64(len(content)))...)
	}
	for at := 0; at < len(c.Data); at += sector {
		if !arrives(at / sector) {
			continue
		}
		part := c.Data[at:min(at+sector, len(c.Data))]
		begin := int(c.Offset) + at
		if end := begin + len(part); end > len(content) {
			content = append(content, make([]byte, end-len(content))...)
		}
		copy(content[begin:], part)
	}
	return content
}

// rename does what a call does to names.
func (c Call) rename(names map[string]int) {
	switch c.Kind {
	case created:
		names[c.Path] = c.File
	case Remove:
		delete(names, c.Path)
	case Link:
		if id, ok := names[c.Path]; ok {
			names[c.To] = id
		}
	case Rename:
		if c.Folder {
			for path, id := range maps.Clone(names) {
				if rest, ok := strings.CutPrefix(path, c.Path+"/"); ok {
					delete(names, path)
					names[filepath.Join(c.To, rest)] = id
				}
			}
			return
		}
		if id, ok := names[c.Path]; ok {
			delete(names, c.Path)
			names[c.To] = id
		}
	case Write, Sync, Truncate, Space, Mark:
	}
}

// Build writes the files that a power cut leaves into an empty folder.
func (c Cut) Build(folder string, fate Fate) error {
	if fate.Write == nil {
		fate.Write = func(Call) func(int) bool { return func(int) bool { return false } }
	}
	names, pending := maps.Clone(c.state.names), c.state.pending
	if fate.Names != nil {
		for _, p := range pending[:fate.Names(len(pending))] {
			p.rename(names)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		f := c.state.files[names[path]]
		if f == nil {
			return fmt.Errorf("%s is no file that is known", path)
		}
		content := f.content
		if len(f.pending) > 0 {
			content = slices.Clone(content)
		}
		for _, p := range f.pending {
			content = p.on(content, fate.Write(p))
		}
		if err := write(filepath.Join(folder, path), content); err != nil {
			return err
		}
	}
	return nil
}

// write leaves the zeros at the end a hole.
func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	end, zeros := len(content), make([]byte, 64<<10)
	for end >= len(zeros) && bytes.Equal(content[end-len(zeros):end], zeros) {
		end -= len(zeros)
	}
	if err := os.WriteFile(path, content[:end], 0o600); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(content)))
}

// Pending tells whether anything is not synced: if not, all fates are one.
func (c Cut) Pending() bool {
	if len(c.state.pending) > 0 {
		return true
	}
	for _, f := range c.state.files {
		if len(f.pending) > 0 {
			return true
		}
	}
	return false
}
