// Package datadir is the data folder: its layout, its format file, the lock that
// lets only one server run on it, and how a new one comes to be whole or not at
// all.
//
//	certwright.yaml  policy.yaml  root.crt  ledger.db  admin.sock  format  lock
//	keys/  root.key  issuing.key  issuing.crt  checkpoint.key  server.key
//
// root.key and lock are there only with --dev. Folders have mode 0700, files
// 0600.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/certwright/certwright/flock"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
)

// Version is the format that this program writes and reads.
const Version = 1

// The names inside the data folder, relative to it.
const (
	FormatFile = "format"
	RootCert   = "root.crt"
	RootCRL    = "root.crl"
	Transcript = "ceremony.txt" // of init
	KeyDir     = "keys"
	RootKey    = "keys/root.key" // with --dev only
	IssuingKey = "keys/issuing.key"
	IssuingCRT = "keys/issuing.crt"
	ServerKey  = "keys/server.key"
)

// How a data folder was made.
const (
	Dev        = "dev"        // by serve --dev: keys in clear, root key inside
	Production = "production" // by init: keys encrypted, no root key
)

// ErrNone says that there is no data folder yet.
var ErrNone = errors.New("no data folder")

// Format is what the format file says.
type Format struct {
	Version int
	Mode    string  // Dev or Production
	Server  [8]byte // names this server for ever
}

// NewFormat is that of a new folder.
func NewFormat(mode string) Format {
	f := Format{Version: Version, Mode: mode}
	_, _ = rand.Read(f.Server[:]) // never fails
	return f
}

// Marshal is the format file's text.
func (f Format) Marshal() []byte {
	return fmt.Appendf(nil, "certwright data format %d\nmode %s\nserver %x\n", f.Version, f.Mode, f.Server)
}

// ParseFormat reads the text of a format file. Of a newer format it reads the version
// only.
func ParseFormat(data []byte) (Format, error) {
	var f Format
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	number, ok := strings.CutPrefix(lines[0], "certwright data format ")
	version, err := strconv.Atoi(number)
	if !ok || err != nil || version < 1 {
		return f, errors.New("is not a format file of Certwright")
	}
	f.Version = version
	if version > Version {
		return f, fmt.Errorf("says format %d, newer than this program's %d: use the certwright that wrote it, or a newer one", version, Version)
	}
	if len(lines) != 3 {
		return f, errors.New("is not whole")
	}
	f.Mode, ok = strings.CutPrefix(lines[1], "mode ")
	name, ok2 := strings.CutPrefix(lines[2], "server ")
	server, err := hex.DecodeString(name)
	if !ok || !ok2 || err != nil || len(server) != len(f.Server) || (f.Mode != Dev && f.Mode != Production) {
		return f, errors.New("is not whole")
	}
	copy(f.Server[:], server)
	return f, nil
}

// maxFormat is more than a format file has, in bytes.
const maxFormat = 4 << 10

// Read reads the format file of the data folder. ErrNone if the folder is not
// there or empty. A folder that everybody can write to is refused.
func Read(dir string) (Format, error) {
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o002 != 0 {
		return Format{}, fmt.Errorf("data folder %s: everybody can write to it, and so replace what is in it: chmod o-w %[1]s", dir)
	}
	path := filepath.Join(dir, FormatFile)
	data, err := plainfile.Read(path, maxFormat)
	if errors.Is(err, fs.ErrNotExist) {
		return Format{}, absent(dir)
	}
	if err != nil {
		return Format{}, explain(dir, err)
	}
	f, err := ParseFormat(data)
	if err != nil {
		return f, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

// absent tells a folder that is not there from one that holds something else.
func absent(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNone
	}
	if err != nil {
		return explain(dir, err)
	}
	defer func() { _ = d.Close() }()
	if _, err := os.Stat(filepath.Join(dir, unfinished)); err == nil {
		return ErrNone // of a Create that was killed
	}
	switch names, err := d.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return ErrNone
	case err != nil:
		return explain(dir, err)
	default:
		return fmt.Errorf("%s is not a data folder of Certwright: it has no file %q but has %q; name another folder with --data", dir, FormatFile, names[0])
	}
}

func explain(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data folder %s: permission denied: run as its owner, or name another folder with --data", dir)
	}
	return fmt.Errorf("data folder %s: %w", dir, err)
}

// Lock takes the data folder for one server, until the process ends or the
// returned function is called.
func Lock(dir string) (release func() error, err error) {
	f, err := plainfile.Open(filepath.Join(dir, FormatFile))
	if err != nil {
		return nil, explain(dir, err)
	}
	if err := flock.Try(f); err != nil {
		_ = f.Close()
		if errors.Is(err, flock.ErrHeld) {
			return nil, problem.New(problem.FailedPrecondition, "another server is running on the data folder %s: stop it, or name another folder with --data", dir)
		}
		return nil, fmt.Errorf("lock on the data folder %s: %w", dir, err)
	}
	return f.Close, nil
}

// maxSocketPath is the longest path of a Unix socket: sun_path has 108 bytes on
// Linux with the closing NUL, 104 on the BSDs.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// CheckSocket refuses a socket path that the system cannot bind.
func CheckSocket(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("the admin socket's path has %d bytes, the system allows %d: choose a shorter --data, or set admin_socket (%s)",
			len(path), maxSocketPath, path)
	}
	return nil
}
