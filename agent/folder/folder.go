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

// open makes the folder if it is not there.
func (f *Folder) open() (*os.Root, error) {
	if _, err := os.Stat(f.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(f.Dir, 0o755); err != nil { //nolint:gosec // names are no secret; each file has permissions of its own
			return nil, err
		}
		if err := syncDir(filepath.Dir(f.Dir)); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(f.Dir)
}

// Ready makes sure, before anything is asked for, that it can be kept: the folder
// can be written to, and nothing of others stands where the links go. What has the
// form of a certificate there is for Adopt.
func (f *Folder) Ready() error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := writable(root); err != nil {
		return fmt.Errorf("cannot write into %s: %w", f.Dir, err)
	}
	for _, name := range append(f.names(), current) {
		target, err := root.Readlink(name)
		ours := err == nil && (strings.HasPrefix(target, current+"/") || name == current && strings.HasPrefix(target, prefix))
		if !ours && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there and is not the agent's: move it away, or choose another folder or name", f.Path(name))
		}
	}
	return nil
}

func writable(root *os.Root) error {
	const probe = ".probe"
	_ = root.Remove(probe)
	file, err := root.OpenFile(probe, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), root.Remove(probe))
}

// Held is the present certificate with its key; nil if there is none.
func (f *Folder) Held() (*Held, error) {
	root, err := os.OpenRoot(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	data, err := readAll(root, current+"/"+held)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	h, err := ParseHeld(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(current), err)
	}
	return h, nil
}

// Publish makes h the present certificate. When it returns, that is durable.
func (f *Folder) Publish(h *Held) error {
	if err := f.Ready(); err != nil {
		return err
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// The links lead nowhere yet, or to the generation before.
	if err := f.links(root); err != nil {
		return err
	}
	if err := f.swap(root, h); err != nil {
		return err
	}
	return f.tidy(root)
}

// swap writes the next generation and makes it the present one.
func (f *Folder) swap(root *os.Root, h *Held) error {
	if err := root.RemoveAll(building); err != nil {
		return err
	}
	if err := root.Mkdir(building, 0o755); err != nil {
		return err
	}
	if err := root.Chmod(building, 0o755); err != nil { // whatever the umask is
		return err
	}
	if err := f.fill(root, h); err != nil {
		return err
	}
	if err := syncFolder(root, building); err != nil {
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
	if err := syncFolder(root, "."); err != nil {
		return err
	}
	if err := relink(root, nameOf(next), current); err != nil {
		return err
	}
	return syncFolder(root, ".")
}

// links makes those that are missing.
func (f *Folder) links(root *os.Root) error {
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

func syncFolder(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Leaf is the certificate itself.
func (h *Held) Leaf() *x509.Certificate { return h.Chain[0] }
