package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/cosign"
	"github.com/certwright/certwright/plainfile"
)

// maxInput is what a file that a flag names may have in octets.
const maxInput = 4 << 20

// sourceFlags say how ledgers are read and whose signature they have.
type sourceFlags struct {
	keys    []string
	ca      string
	token   string
	timeout time.Duration
}

func (s *sourceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&s.keys, "key", nil, "verifier key of the ledger, of any of its epochs (NAME+HASH+KEY), or a file that has it; may be repeated")
	flags.StringVar(&s.ca, "ca", "", "file with the root certificates that servers are verified with, PEM (default: the system's)")
	flags.StringVar(&s.token, "token-file", "", "file with a token that is sent to the server, over https only")
	flags.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long to wait for one file of a server")
	for _, name := range []string{"ca", "token-file"} {
		_ = cmd.MarkFlagFilename(name)
	}
}

// verifiers are the keys of the ledger.
func (s *sourceFlags) verifiers() ([]book.Key, error) {
	if len(s.keys) == 0 {
		return nil, usagef("--key is missing: the verifier key, which \"certwright ledger status\" prints")
	}
	return readKeys("--key", s.keys, book.ParseKey)
}

// readKeys reads keys from the command line or from files, one a line.
func readKeys[K any](flag string, given []string, read func(string) (K, error)) ([]K, error) {
	var all []K
	for _, each := range given {
		text := each
		if !strings.Contains(each, "+") {
			data, err := plainfile.Read(each, maxInput)
			if err != nil {
				return nil, usagef("%s %q is neither a key, NAME+HASH+KEY, nor a file that can be read: %w", flag, each, err)
			}
			text = string(data)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			v, err := read(line)
			if err != nil {
				return nil, usagef("%s %.64q: %w: was it copied in full?", flag, line, err)
			}
			all = append(all, v)
		}
	}
	return all, nil
}

// witnesses are the keys of witnesses.
func witnesses(given []string, need int) ([]note.Verifier, error) {
	all, err := readKeys("--witness", given, cosign.NewVerifier)
	if err == nil && (need < 0 || need > len(all)) {
		err = usagef("--need %d: %d witnesses are named by --witness", need, len(all))
	}
	return all, err
}

// open makes a source of a URL or a folder.
func (s *sourceFlags) open(where string) (book.Source, error) {
	if !strings.Contains(where, "://") {
		info, err := os.Stat(where)
		if err != nil {
			return nil, failf(exitNotFound, "%w; name a URL such as https://ca.internal:8443/ledger, or a folder", err)
		}
		if !info.IsDir() {
			return nil, usagef("%s is not a folder", where)
		}
		return book.Folder(where), nil
	}
	c := book.HTTPConfig{URL: where, Timeout: s.timeout}
	if s.ca != "" {
		roots, err := readCertificates("--ca", s.ca)
		if err != nil {
			return nil, err
		}
		c.Roots = x509.NewCertPool()
		for _, root := range roots {
			c.Roots.AddCert(root)
		}
	}
	if s.token != "" && strings.HasPrefix(where, "https://") {
		data, err := readFile("--token-file", s.token, maxInput)
		if err != nil {
			return nil, err
		}
		if c.Bearer = strings.TrimSpace(string(data)); c.Bearer == "" || strings.ContainsFunc(c.Bearer, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, usagef("%s holds no token", s.token)
		}
	}
	source, err := book.NewHTTP(c)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return source, nil
}

// readFile reads a file that a flag names.
func readFile(flag, path string, most int64) ([]byte, error) {
	data, err := plainfile.Read(path, most)
	if errors.Is(err, plainfile.ErrNotRegular) || errors.Is(err, plainfile.ErrTooLarge) {
		return nil, usagef("%s: %w", flag, err)
	}
	return data, err
}

// readCertificates reads a PEM file that a flag names.
func readCertificates(flag, path string) ([]*x509.Certificate, error) {
	data, err := readFile(flag, path, maxInput)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, failf(exitUsage, "%s: %w", path, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, usagef("%s holds no certificate in PEM", path)
	}
	return all, nil
}
