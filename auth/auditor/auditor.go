// Package auditor proves auditors by bearer tokens that stand in a file of the
// server: they may read the published ledger, and nothing else.
package auditor

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
)

const (
	// minToken is the least length of a token: 128 random bits in hexadecimal.
	minToken = 32
	// maxTokens and maxFile bound the file.
	maxTokens = 64
	maxFile   = 64 << 10
)

// Config of an Authenticator.
type Config struct {
	// File holds one token a line; empty lines and those that begin with # do not
	// count. It is read at each call: a token that is taken out is refused at once.
	File string
}

// Authenticator proves the holders of the tokens. See auth.Authenticator.
type Authenticator struct{ file string }

// New checks the file once, so that a fault shows at the start.
func New(c Config) (*Authenticator, error) {
	a := &Authenticator{file: c.File}
	tokens, err := a.read()
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("%s holds no token: write one a line, such as that of \"openssl rand -hex 32\"", c.File)
	}
	if err != nil {
		return nil, fmt.Errorf("auditors' tokens: %w", err)
	}
	return a, nil
}

// Authenticate answers the auditor of a bearer token that stands in the file, and
// ErrNotMine for anything else.
func (a *Authenticator) Authenticate(_ context.Context, c auth.Credentials) (identity.Principal, error) {
	bearer, ok := auth.Bearer(c.Authorization)
	if !ok || len(bearer) < minToken {
		return identity.Principal{}, auth.ErrNotMine
	}
	tokens, err := a.read()
	if err != nil {
		return identity.Principal{}, &problem.Problem{
			Kind: problem.Unavailable, Reason: "AUDITORS_UNREADABLE", Detail: "the server cannot read its auditors' tokens", Err: err,
		}
	}
	shown, found := sha256.Sum256([]byte(bearer)), 0
	for _, each := range tokens {
		known := sha256.Sum256([]byte(each))
		found |= subtle.ConstantTimeCompare(shown[:], known[:])
	}
	if found == 0 {
		return identity.Principal{}, auth.ErrNotMine
	}
	return identity.Principal{
		Method: identity.Auditor, ID: hex.EncodeToString(shown[:8]),
		Roles: []identity.Role{identity.RoleReader}, Evidence: shown,
	}, nil
}

// read reads the tokens. Nobody but the owner and the group may read the file.
func (a *Authenticator) read() ([]string, error) {
	f, err := plainfile.Open(a.file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody on this machine may use %s: take that away with chmod o= %s", a.file, a.file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d octets", a.file, maxFile)
	}
	return parse(a.file, string(data))
}

// parse reads the lines. No error shows what a line holds.
func parse(file, text string) ([]string, error) {
	var tokens []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if _, ok := auth.Bearer("Bearer " + line); !ok || len(line) < minToken {
			return nil, fmt.Errorf("%s:%d: a token has at least %d printable characters without spaces, such as that of \"openssl rand -hex 32\"", file, number, minToken)
		}
		if tokens = append(tokens, line); len(tokens) > maxTokens {
			return nil, fmt.Errorf("%s holds more than %d tokens", file, maxTokens)
		}
	}
	return tokens, nil
}
