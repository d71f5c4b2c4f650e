package direct

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/hook"
	"github.com/certwright/certwright/client"
)

const (
	maxToken    = 64 << 10
	commandTime = 30 * time.Second
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
		pair, err := client.LoadPair(s.Auth.CertFile, s.Auth.KeyFile)
		if err != nil {
			return proof{}, fmt.Errorf("auth.cert_file: %w", err)
		}
		return proof{certificate: &pair}, nil
	case s.Auth.TokenFile != "":
		token, err := client.ReadTokenFile(s.Auth.TokenFile)
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_file: %w", err)
		}
		return proof{token: token}, nil
	case len(s.Auth.TokenCommand) > 0:
		out, _, err := hook.Run(ctx, hook.Program{Argv: s.Auth.TokenCommand, Timeout: commandTime, Limit: maxToken})
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_command: %w", err)
		}
		token, err := client.ReadToken(strings.NewReader(out))
		if err != nil {
			return proof{}, fmt.Errorf("auth.token_command: %w", err)
		}
		return proof{token: token}, nil
	}
	return proof{}, nil
}
