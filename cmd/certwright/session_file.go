package main

import (
	"bytes"
	"crypto/sha256"
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
	"github.com/certwright/certwright/plainfile"
)

// maxSessionFile is the most octets of a session's file.
const maxSessionFile = 8 << 10

// keptSession is a session as it is kept on this machine, readable by its user
// alone.
type keptSession struct {
	Server  string    `json:"server"` // host:port
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
	f, err := plainfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, failf(exitAuth, "others may read the session in %s, so its token counts as stolen: certwright logout --local, log in again, and revoke the old one: certwright session list", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSessionFile+1))
	if err != nil {
		return nil, err
	}
	kept, err := parseKept(data)
	if err != nil || kept.Server != server {
		return nil, failf(exitAuth, "the session in %s cannot be read: run certwright login", path)
	}
	return kept, nil
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
	return kept, nil
}

// keep writes a session's file, 0600 in a folder of its user's alone.
func (a *app) keep(s keptSession) (string, error) {
	path := a.sessionFile(s.Server)
	if path == "" {
		return "", failf(exitUsage, "there is no place to keep the session: set HOME or XDG_STATE_HOME")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
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
