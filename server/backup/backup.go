// Package backup is a backup's file: a tar archive, perhaps encrypted by age, whose
// first member says what all the others must be. Write and Read are its two ends;
// Check says whether the database in it is what the server had published.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
)

const (
	// Version of the archive that this program writes and reads.
	Version = 1
	// MaxFile is the most octets of a file that is not the database.
	MaxFile = 1 << 20

	manifestName = "manifest.json"
	maxManifest  = 1 << 20
	maxFiles     = 200
	private      = ".key" // ends the name of a private key's file
)

// Files are the files of a data folder that a backup has besides the database, the
// policy and the folder of keys, as far as they are there.
func Files() []string {
	return []string{datadir.FormatFile, config.FileName, datadir.RootCert, datadir.RootCRL, datadir.Transcript}
}

// Manifest says what a backup is. Nothing in it is secret.
type Manifest struct {
	Version     int       `json:"version"`
	Time        time.Time `json:"time"`       // when the copy was begun
	Program     string    `json:"program"`    // version of the server
	Checkpoint  string    `json:"checkpoint"` // published before; the database holds its entries
	VerifierKey string    `json:"verifierKey"`
	Database    string    `json:"database"` // name of its file
	Files       []File    `json:"files"`    // in the archive's order; the database is the last
}

// File is one member of the archive.
type File struct {
	Name   string `json:"name"` // in the data folder, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Keys tells whether there are private keys in the backup.
func (m *Manifest) Keys() bool {
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, private) {
			return true
		}
	}
	return false
}

var memberName = regexp.MustCompile(`^(keys/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// CheckName refuses what is no file of a data folder.
func CheckName(name string) error {
	if !memberName.MatchString(name) || !filepath.IsLocal(name) || path.Clean(name) != name || name == manifestName {
		return fmt.Errorf("%.80q is not the name of a file in a data folder", name)
	}
	return nil
}

// check refuses a manifest that no backup has.
func (m *Manifest) check() error {
	switch {
	case m.Version > Version:
		return fmt.Errorf("it has the version %d, this program knows %d: use the certwright that wrote it, or a newer one", m.Version, Version)
	case m.Version < 1:
		return errors.New("it says no version")
	case len(m.Files) == 0 || len(m.Files) > maxFiles:
		return fmt.Errorf("it names %d files, not 1 to %d", len(m.Files), maxFiles)
	case m.Files[len(m.Files)-1].Name != m.Database:
		return errors.New("its last file is not the database")
	}
	seen := map[string]bool{}
	for i, f := range m.Files {
		if err := CheckName(f.Name); err != nil {
			return err
		}
		last := i == len(m.Files)-1
		if f.Size < 0 || !last && f.Size > MaxFile || seen[f.Name] {
			return fmt.Errorf("it names %q twice, or with %d octets", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	return nil
}

// Sum is how a manifest names a file's octets.
func Sum(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }

// Write writes an archive. open gives the files of the manifest, one after the other.
func Write(w io.Writer, m Manifest, open func(name string) (io.ReadCloser, error)) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := member(t, manifestName, int64(len(text)), m.Time, bytes.NewReader(text)); err != nil {
		return err
	}
	for _, f := range m.Files {
		from, err := open(f.Name)
		if err != nil {
			return err
		}
		err = errors.Join(member(t, f.Name, f.Size, m.Time, from), from.Close())
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return t.Close()
}

func member(t *tar.Writer, name string, size int64, at time.Time, from io.Reader) error {
	h := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(t, from)
	return err
}

// Read reads an archive to its end. begin is told the manifest; put takes each file,
// and must read it to its end. What is not as the manifest says is an error; what put
// has taken before is then not to be used.
func Read(r io.Reader, begin func(Manifest) error, put func(f File, from io.Reader) error) (Manifest, error) {
	m, err := read(r, begin, put)
	if err != nil {
		return m, fmt.Errorf("the backup cannot be used: %w", err)
	}
	return m, nil
}

func read(r io.Reader, begin func(Manifest) error, put func(f File, from io.Reader) error) (m Manifest, err error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		return m, because("it is no backup of Certwright, or is damaged at its begin", notEnd(err))
	}
	text, err := io.ReadAll(t)
	if err != nil {
		return m, cut(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		var newer struct{ Version int }
		if json.Unmarshal(text, &newer) == nil && newer.Version > Version {
			m = Manifest{Version: newer.Version}
			return m, m.check()
		}
		return m, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	if err := begin(m); err != nil {
		return m, err
	}
	for _, f := range m.Files {
		if err := one(t, f, put); err != nil {
			return m, err
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return m, because("there is more in it than its manifest says", err)
	}
	return m, nil
}

// because is an error of one line, with its cause if there is one.
func because(text string, cause error) error {
	if cause == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, cause)
}

// one reads the next member, which must be f.
func one(t *tar.Reader, f File, put func(f File, from io.Reader) error) error {
	h, err := t.Next()
	if err != nil {
		return cut(err)
	}
	if h.Name != f.Name || h.Size != f.Size || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%.80q (%d octets) stands where its manifest has %q (%d octets)", h.Name, h.Size, f.Name, f.Size)
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") { // a few octets would become any number
			return fmt.Errorf("%q stands in it with holes, as in no backup", f.Name)
		}
	}
	sum := sha256.New()
	if err := put(f, io.TeeReader(t, sum)); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return cut(err)
		}
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %s, its manifest says %s: it was changed, or is of another backup", f.Name, got, f.SHA256)
	}
	return nil
}

// cut words the end of an archive that ends too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut: it ends before its last file")
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return err
	}
	return fmt.Errorf("it is damaged: %w", err)
}

func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
