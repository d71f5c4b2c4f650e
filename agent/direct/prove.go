package direct

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/hook"
)

const (
	maxToken     = 64 << 10
	commandTime  = 30 * time.Second
	tokenPurpose = "the token"
)

// proof is what the agent proves itself with: a token, a certificate, or nothing.
type proof struct {
	token       string
	certificate *tls.Certificate
}

// show gives the certificate to a handshake, whichever CAs the server names.
func (p proof) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.certificate, nil }

// prove reads what the agent proves itself with, each time anew: whatever rotates it
// is followed.
func (s *Source) prove(ctx context.Context) (proof, error) {
	switch {
	case s.Auth.CertFile != "":
		pair, err := tls.LoadX509KeyPair(s.Auth.CertFile, s.Auth.KeyFile)
		if err != nil {
			return proof{}, fmt.Errorf("auth.cert_file: %w", err)
		}
		return proof{certificate: &pair}, nil
	case s.Auth.TokenFile != "":
		token, err := readToken(s.Auth.TokenFile)
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_file: %w", err)
		}
		return proof{token: token}, nil
	case len(s.Auth.TokenCommand) > 0:
		out, _, err := hook.Run(ctx, hook.Program{Argv: s.Auth.TokenCommand, Timeout: commandTime, Limit: maxToken})
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_command: %w", err)
		}
		token, err := checkToken(out)
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_command: %w", err)
		}
		return proof{token: token}, nil
	}
	return proof{}, nil
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", err
	}
	token, err := checkToken(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return token, nil
}

// checkToken takes the white space off. The error does not quote the token.
func checkToken(text string) (string, error) {
	token := strings.TrimSpace(text)
	if len(text) > maxToken {
		return "", fmt.Errorf("%s has more than %d bytes", tokenPurpose, maxToken)
	}
	if token == "" || strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return "", fmt.Errorf("there is not one token on one line")
	}
	return token, nil
}
