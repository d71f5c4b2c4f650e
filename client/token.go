package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"github.com/certwright/certwright/plainfile"
	"io"
)

// maxToken is the largest token that is read, in bytes; a server takes less.
const maxToken = 64 << 10

// TokenFile gives the token in a file, for Config.Token: a join token, or the signed
// token of a platform. The file is read for each call, so what rotates it is followed.
func TokenFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		token, err := ReadTokenFile(path)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		return token, nil
	}
}

// ReadTokenFile is ReadToken of a regular file.
func ReadTokenFile(path string) (string, error) {
	f, err := plainfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	token, err := ReadToken(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// ReadToken reads one token and nothing else, but for the space around it. The error
// never shows what was read.
func ReadToken(from io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxToken+1))
	if err != nil {
		return "", err
	}
	token := bytes.TrimSpace(text)
	switch {
	case len(token) == 0:
		return "", errors.New("there is no token")
	case len(text) > maxToken:
		return "", fmt.Errorf("there are more than %d bytes, too much for a token", maxToken)
	case bytes.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0:
		return "", errors.New("there is more than one word, or something other than letters and signs: that is no token")
	}
	return string(token), nil
}
