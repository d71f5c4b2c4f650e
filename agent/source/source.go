// Package source is what the agent and the places that certificates come from say
// to each other.
package source

import (
	"crypto/x509"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/identity"
)

// Request is for one certificate.
type Request struct {
	// ID is the same when the same request is made again because its answer was
	// lost.
	ID string
	// CSR has the key and the names.
	CSR    *x509.CertificateRequest
	CSRPEM string
	Names  []identity.Identifier

	Profile  string
	Owner    string
	Labels   map[string]string
	Validity time.Duration // 0: as the profile says

	// Predecessor is what is renewed; nil: there is none, or it was for something else.
	Predecessor *folder.Held
}

// Answer is what a source gave, before anybody has judged it.
type Answer struct {
	Certificate []byte // PEM: the certificate, and perhaps its chain
	Chain       []byte // PEM: its chain, if it is not in Certificate
	// Note says what was not as usual, such as a renewal that was refused.
	Note string
}

// Window is when the source would have a certificate renewed.
type Window struct {
	Start, End time.Time
	AskAgain   time.Duration
}

// Failure is why there is no certificate.
type Failure struct {
	// Refused: the source has decided. The same request again would be refused again, so
	// the next one is a new one. Else nobody knows what came of it.
	Refused bool
	// Rejected: it is the certificate shown that was not taken, because it is revoked
	// or unknown.
	Rejected bool
	// Wait is how long the source asks to wait; 0: it does not say.
	Wait time.Duration
	Err  error
}

// Error is the cause's.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Refusal is a failure that is final for this request.
func Refusal(err error) error { return &Failure{Refused: true, Err: err} }

// Of is what is known about a failure: nothing, if no source has said it.
func Of(err error) Failure {
	var f *Failure
	if errors.As(err, &f) {
		return *f
	}
	return Failure{Err: err}
}

// maxWords is the longest text of a server that is kept.
const maxWords = 2000

// Words is what a server says, as one line that can be kept and shown.
func Words(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

// Said is an error whose text is Words of a server; the cause is kept for who wants to
// know more.
type Said struct {
	Text string
	Err  error
}

// Error is the line.
func (s *Said) Error() string { return s.Text }

// Unwrap is the cause.
func (s *Said) Unwrap() error { return s.Err }
