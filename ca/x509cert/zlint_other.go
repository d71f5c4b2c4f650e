//go:build !linux && !darwin

package x509cert

import (
	"crypto/x509"
	"errors"
)

// errUnlinted: what zlint reads certificates by, zcrypto's x509, does not build on this
// system, and nothing is signed that was not linted.
var errUnlinted = errors.New("certificates cannot be linted on this system, so none are signed: the CA runs on Linux and macOS only")

// Linter is not to be had.
type Linter struct{}

// NewLinter refuses, and with it every CA.
func NewLinter() (*Linter, error) { return nil, errUnlinted }

func (*Linter) lint(*x509.Certificate, []string) error { return errUnlinted }

func (*Linter) lintCRL([]byte) error { return errUnlinted }
