// Package folder keeps a certificate's files: a private key never stands there
// with a certificate that is not its own, whatever is killed or cut at which moment.
//
// A folder looks like this:
//
//	.gen-000007/         a generation: all files of one certificate, never changed
//	.gen-000008/         the present one
//	current → .gen-000008
//	key.pem → current/key.pem, fullchain.pem → current/fullchain.pem, …
//
// A new certificate is written into a folder of its own (.new), each file and the
// folder are synced, the folder is renamed to the next generation, and then one
// rename(2) puts a new link "current" in the place of the old one: the key and the
// certificate change together, in one step of the file system. The generation before
// stays, for programs that have opened one of its files and not yet the other.
//
// All is done through an os.Root: whoever else may write into the folder leads the
// agent nowhere else.
package folder

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/client/steady"
)

// The names in a folder besides those of the files.
const (
	current  = config.Current
	building = ".new"
	link     = ".link"
	prefix   = ".gen-"
	held     = ".held.pem" // key and certificates as the agent reads them, in each generation
	maxHeld  = 256 << 10
)

// Folder is where the files of one certificate are.
type Folder struct {
	Dir        string
	Files      config.Files
	Mode       fs.FileMode
	PublicMode fs.FileMode // of files without the key
	UID, GID   int         // -1: the agent's own
}

// names of the files that are written, in a fixed order.
func (f *Folder) names() []string {
	var names []string
	for _, name := range []string{f.Files.Key, f.Files.Cert, f.Files.Chain, f.Files.Fullchain, f.Files.Combined} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Path is where a file is found; "" for one that is not written.
func (f *Folder) Path(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Join(f.Dir, name)
}

// open makes the folder if it is not there. All may look into it: names are no secret,
// and each file has permissions of its own.
func (f *Folder) open() (*os.Root, error) { return steady.Make(f.Dir, 0o755) }

// Ready makes sure, before anything is asked for, that it can be kept: the folder
// can be written to, and nothing of others stands where the links go. What has the
// form of a certificate there is for Adopt.
func (f *Folder) Ready() error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return f.ready(root)
}

func (f *Folder) ready(root *os.Root) error {
	if err := writable(root); err != nil {
		return fmt.Errorf("cannot write into %s: %w", f.Dir, err)
	}
	for _, name := range append(f.names(), current) {
		target, err := root.Readlink(name)
		ours := err == nil && (strings.HasPrefix(target, current+"/") || name == current && strings.HasPrefix(target, prefix))
		if !ours && !errors.Is(err, fs.ErrNotExist) && !isAside(root, name) {
			return fmt.Errorf("%s is there and is not the agent's: move it away, or choose another folder or name", f.Path(name))
		}
	}
	return nil
}

func writable(root *os.Root) error {
	const probe = ".probe"
	_ = root.Remove(probe)
	return errors.Join(steady.Create(root, probe, steady.Plain(nil, 0o600)), root.Remove(probe))
}

// Held is the present certificate with its key; nil if there is none. One that others
// could have put there, or whose key they could have read, is an error.
func (f *Folder) Held() (*Held, error) {
	root, err := steady.Open(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return f.held(root)
}

func (f *Folder) held(root *os.Root) (*Held, error) {
	generation, err := root.Readlink(current)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !strings.HasPrefix(generation, prefix) {
		err = fmt.Errorf("current leads to %.256q, which is not the agent's", generation)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	inside, err := steady.Inside(root, generation)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = inside.Close() }()
	data, _, err := steady.ReadSecret(inside, held, maxHeld)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := ParseHeld(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(current), err)
	}
	return h, nil
}

// Publish makes h the present certificate. When it returns, that is durable.
func (f *Folder) Publish(h *Held) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := f.ready(root); err != nil {
		return err
	}
	// The links lead nowhere yet, or to the generation before.
	if err := f.links(root, fs.ErrNotExist); err != nil {
		return err
	}
	if err := f.swap(root, h); err != nil {
		return err
	}
	if err := f.links(root, nil); err != nil {
		return err
	}
	return f.tidy(root)
}

// swap writes the next generation and makes it the present one.
func (f *Folder) swap(root *os.Root, h *Held) error {
	if err := root.RemoveAll(building); err != nil {
		return err
	}
	inside, err := steady.New(root, building, 0o755)
	if err != nil {
		return err
	}
	defer func() { _ = inside.Close() }()
	if err := f.fill(inside, h); err != nil {
		return err
	}
	if err := steady.Sync(inside); err != nil {
		return err
	}
	generations, err := generationsOf(root)
	if err != nil {
		return err
	}
	next := 1
	if n := len(generations); n > 0 {
		next = generations[n-1] + 1
	}
	if err := root.Rename(building, nameOf(next)); err != nil {
		return err
	}
	if err := same(root, nameOf(next), inside); err != nil {
		return err
	}
	if err := steady.Sync(root); err != nil {
		return err
	}
	if err := relink(root, nameOf(next), current); err != nil {
		return err
	}
	return steady.Sync(root)
}

// same is nil if the name is that of the folder inside.
func same(root *os.Root, name string, inside *os.Root) error {
	named, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if own, err := inside.Stat("."); err != nil || !os.SameFile(named, own) {
		return errors.Join(err, fmt.Errorf("somebody else has changed %s in %s meanwhile", name, root.Name()))
	}
	return nil
}

// links makes the links, in the place of files that are set aside, too. Only: just
// those whose name is free.
func (f *Folder) links(root *os.Root, only error) error {
	changed := false
	for _, name := range f.names() {
		if _, err := root.Readlink(name); err == nil || only != nil && !errors.Is(err, only) {
			continue
		}
		if err := relink(root, path.Join(current, name), name); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return steady.Sync(root)
}

// relink puts a link in the place of what has its name.
func relink(root *os.Root, target, name string) error {
	if err := root.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Symlink(target, link); err != nil {
		return err
	}
	return root.Rename(link, name)
}

// tidy removes links of files that are no longer wanted, and generations but the
// last two.
func (f *Folder) tidy(root *os.Root) error {
	entries, err := list(root)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		target, err := root.Readlink(entry)
		if err == nil && strings.HasPrefix(target, current+"/") && !slices.Contains(f.names(), entry) {
			if err := root.Remove(entry); err != nil {
				return err
			}
		}
	}
	generations, err := generationsOf(root)
	if err != nil {
		return err
	}
	for _, n := range generations[:max(0, len(generations)-2)] {
		if err := root.RemoveAll(nameOf(n)); err != nil {
			return err
		}
	}
	return nil
}

func nameOf(generation int) string { return fmt.Sprintf("%s%06d", prefix, generation) }

// generationsOf are the numbers that there are, rising.
func generationsOf(root *os.Root) ([]int, error) {
	entries, err := list(root)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry, prefix)
		if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && nameOf(n) == entry {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func list(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

// Leaf is the certificate itself.
func (h *Held) Leaf() *x509.Certificate { return h.Chain[0] }
