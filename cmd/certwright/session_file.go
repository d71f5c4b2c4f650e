package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/client/steady"
	"github.com/certwright/certwright/flock"
	"github.com/certwright/certwright/plainfile"
)

// maxSessionFile is the most octets of a session's file.
const maxSessionFile = 8 << 10

// keptSession is a session as it is kept on this machine, readable by its user
// alone.
type keptSession struct {
	Server  string    `json:"server"` // host:port
	Root    string    `json:"root"`   // fingerprint of the root that the server was under
	ID      string    `json:"id"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// sessionServer is the server that sessions are with, as host:port; "" on a socket:
// there its user is an admin already.
func (a *app) sessionServer() (string, error) {
	if a.server == "" || strings.HasPrefix(a.server, "unix:") {
		return "", nil
	}
	address, err := client.Address(a.server)
	if err != nil {
		return "", usagef("--server: %w", err)
	}
	return strings.ToLower(address), nil
}

// sessionFile is where the session with a server is kept (XDG Base Directory
// Specification); "" if this user has no place for it.
func (a *app) sessionFile(server string) string {
	state := a.getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification has others ignored
		home := a.getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(state, "certwright", "sessions", hex.EncodeToString(sum[:16])+".json")
}

// keptSession is the session with the server of --server; nil: there is none.
func (a *app) keptSession() (*keptSession, error) {
	server, err := a.sessionServer()
	if err != nil || server == "" {
		return nil, err
	}
	path := a.sessionFile(server)
	if path == "" {
		return nil, nil
	}
	kept, err := readKept(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if kept.Server != server {
		return nil, failf(exitAuth, "the session in %s cannot be read: run certwright login", path)
	}
	return kept, nil
}

// readKept reads a session's file, which must be its user's alone.
func readKept(path string) (*keptSession, error) {
	if err := privateFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := plainfile.Open(path)
	if errors.Is(err, plainfile.ErrNotRegular) {
		return nil, failf(exitAuth, "%w, so no session is in it: certwright logout --local, and log in again", err)
	} else if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !steady.Ours(info) {
		return nil, failf(exitAuth, "the session in %s is another user's file, so it is not used: certwright logout --local, and log in again", path)
	}
	if !steady.Shut(info) {
		return nil, failf(exitAuth, "others may read the session in %s, so its token counts as stolen: certwright logout --local, log in again, and revoke the old one: certwright session list", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSessionFile+1))
	if err != nil {
		return nil, err
	}
	kept, err := parseKept(data)
	if err != nil {
		return nil, failf(exitAuth, "the session in %s cannot be read: run certwright login", path)
	}
	return kept, nil
}

// privateFolder refuses a folder of sessions, and the one above it, if others may change
// what is in it: they could put another session in a session's place.
func privateFolder(dir string) error {
	for _, each := range []string{filepath.Dir(dir), dir} {
		info, err := os.Stat(each)
		if err != nil {
			return err
		}
		if !steady.Ours(info) || !steady.Kept(info) {
			return failf(exitAuth, "others may change the folder %s, so no session in it is used: make it yours alone (chmod 700), and log in again", each)
		}
	}
	return nil
}

// sessionCredentials are those of a session. They go to no server that is under another
// root than the one that the session was opened with: it is not the same.
func (a *app) sessionCredentials(kept *keptSession) credentials {
	return credentials{token: kept.Token, root: func(root *x509.Certificate) error {
		if isPinned(root, kept.Root) {
			return nil
		}
		a.otherRoot.Store(failf(exitConflict, "the session with %s was opened under the root %s, and the server is under %s, so it was not shown the session; if the CA's admin confirms that root, log in again: certwright login",
			kept.Server, kept.Root, client.Fingerprint(root)))
		return errors.New("another root than that of the session")
	}}
}

// parseKept reads a session's file.
func parseKept(data []byte) (*keptSession, error) {
	if len(data) > maxSessionFile {
		return nil, errors.New("it is too large")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	kept := &keptSession{}
	if err := decoder.Decode(kept); err != nil {
		return nil, err
	}
	if kept.Token == "" || kept.ID == "" || strings.IndexFunc(kept.Token+kept.ID, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return nil, errors.New("it holds no token")
	}
	if _, err := client.ParseFingerprint(kept.Root); err != nil {
		return nil, err
	}
	return kept, nil
}

// sessionPlace is the file that the session with a server is to be kept in. Its folder
// is there, and its user's alone.
func (a *app) sessionPlace(server string) (string, error) {
	path := a.sessionFile(server)
	if path == "" {
		return "", failf(exitUsage, "there is no place to keep the session: set HOME or XDG_STATE_HOME")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", missing(err)
	}
	return path, privateFolder(filepath.Dir(path))
}

// holdSessions keeps the user's other commands from changing which sessions are kept
// until the answer is called. Where folders have no locks, they may meet.
func (a *app) holdSessions(server string) (release func()) {
	dir, err := os.Open(filepath.Dir(a.sessionFile(server)))
	if err != nil {
		return func() {}
	}
	_ = flock.Wait(dir)
	return func() { _ = dir.Close() }
}

// keep writes a session's file, 0600.
func (a *app) keep(s keptSession) (string, error) {
	path, err := a.sessionPlace(s.Server)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	files := &fileSet{dir: filepath.Dir(path), force: true}
	defer files.discard()
	if err := files.stage(filepath.Base(path), append(text, '\n')); err != nil {
		return "", err
	}
	return path, files.publish()
}

// forget removes the session's file.
func (a *app) forget(server string) error {
	err := os.Remove(a.sessionFile(server))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
