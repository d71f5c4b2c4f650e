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
	"github.com/certwright/certwright/client"
)

const (
	maxToken     = 64 << 10
	commandTime  = 30 * time.Second
	tokenPurpose = "the token"
)

// prove reads what the agent proves itself with, each time anew: whatever rotates it
// is followed.
func (s *Source) prove(ctx context.Context) (func(*client.Config), error) {
	switch {
	case s.Auth.CertFile != "":
		pair, err := tls.LoadX509KeyPair(s.Auth.CertFile, s.Auth.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("auth.cert_file: %w", err)
		}
		return shows(&pair), nil
	case s.Auth.TokenFile != "":
		token, err := readToken(s.Auth.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("auth.token_file: %w", err)
		}
		return bears(token), nil
	case len(s.Auth.TokenCommand) > 0:
		out, _, err := hook.Run(ctx, hook.Program{Argv: s.Auth.TokenCommand, Timeout: commandTime, Limit: maxToken})
		if err != nil {
			return nil, fmt.Errorf("auth.token_command: %w", err)
		}
		token, err := checkToken(out)
		if err != nil {
			return nil, fmt.Errorf("auth.token_command: %w", err)
		}
		return bears(token), nil
	}
	return nil, nil
}

func bears(token string) func(*client.Config) {
	return func(config *client.Config) {
		config.Token = func(context.Context) (string, error) { return token, nil }
	}
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
