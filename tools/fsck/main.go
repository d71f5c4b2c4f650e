// Command fsck checks a published ledger with Tessera's checker, which shares no
// code with ours: an exported folder, or the files that a server publishes.
//
//	fsck FOLDER|URL VERIFIER-KEY [FILE-WITH-ROOTS [TOKEN]]
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fsck:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: fsck FOLDER|URL VERIFIER-KEY [FILE-WITH-ROOTS [TOKEN]]")
	}
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}
	from, err := source(args[0], args[2:])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return fsck.New(verifier.Name(), verifier, from, leaves, fsck.Opts{N: 2}).Check(ctx)
}

func source(from string, options []string) (fsck.Fetcher, error) {
	if !strings.HasPrefix(from, "https://") {
		return &client.FileFetcher{Root: from}, nil
	}
	at, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(options) > 0 {
		roots, err := os.ReadFile(options[0])
		if err != nil {
			return nil, err
		}
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(roots)
	}
	fetcher, err := client.NewHTTPFetcher(at, &http.Client{Transport: &http.Transport{TLSClientConfig: trust}})
	if err == nil && len(options) > 1 {
		fetcher.SetAuthorizationHeader("Bearer " + options[1])
	}
	return fetcher, err
}

// leaves are the leaf hashes of a bundle.
func leaves(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	var all [][]byte
	for _, entry := range bundle.Entries {
		all = append(all, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return all, nil
}
