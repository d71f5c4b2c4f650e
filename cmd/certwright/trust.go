package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/client"
)

func trustGroup(a *app) *cobra.Command {
	return group("trust", "The CA's root: print it, or have this machine trust it", `
The root is what everybody trusts who trusts certificates of this CA. It is known by
its fingerprint, the SHA-256 of the certificate.`,
		trustPrintCommand(a), trustInstallCommand(a))
}

func trustPrintCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "print [FILE] [flags]", short: "Print the CA's root",
		long: `
Prints the root as PEM on standard output, and its name, fingerprint and end on
standard error; with -o json, yaml, wide or csv all of it on standard output. The
root comes from FILE (PEM or DER, - is standard input), from the server that --server
names, or from the data folder.

A server's root is printed only if it is that of --fingerprint, or if the server's
certificate leads to --ca. Without both, the fingerprint is told and the exit code is
6: compare it with what the CA's admin says.`,
		example: `
certwright trust print > root.crt
certwright trust print --server ca.internal:8444 --fingerprint sha256:… > root.crt
certwright trust print root.crt -o json`,
		next: "certwright trust install FILE --fingerprint sha256:…",
		args: atMost("FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			roots, err := a.trustedRoots(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.printRoots(roots)
		},
	}.command()
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

// trustedRoots are the roots of a file, of the server or of the data folder. With
// --fingerprint it is that one.
func (a *app) trustedRoots(ctx context.Context, args []string) ([]*x509.Certificate, error) {
	if err := a.checkFingerprint(); err != nil {
		return nil, err
	}
	if len(args) == 0 && a.server != "" && !strings.HasPrefix(a.server, "unix:") {
		root, err := a.shownRoot(ctx, a.server)
		return []*x509.Certificate{root}, err
	}
	file := a.rootFile()
	if len(args) > 0 {
		file = args[0]
	}
	if file == "" {
		return nil, failf(exitNotFound, "there is no root in the data folder %s, or it is another user's; name a FILE, or --server with --fingerprint", a.data)
	}
	text, err := a.readInput(file)
	if err != nil {
		return nil, err
	}
	roots, err := client.ParseRoots(text)
	if err != nil {
		one, derErr := x509.ParseCertificate(text)
		if derErr != nil {
			return nil, usagef("%s: %w", file, err)
		}
		roots = []*x509.Certificate{one}
	}
	return a.pinnedOf(roots, file)
}

// checkFingerprint finds a --fingerprint that is none.
func (a *app) checkFingerprint() error {
	if a.fingerprint == "" {
		return nil
	}
	if _, err := client.ParseFingerprint(a.fingerprint); err != nil {
		return usagef("--%w", err)
	}
	return nil
}

// pinnedOf is the one of --fingerprint, or all without it.
func (a *app) pinnedOf(roots []*x509.Certificate, file string) ([]*x509.Certificate, error) {
	if a.fingerprint == "" {
		return roots, nil
	}
	for _, root := range roots {
		if isPinned(root, a.fingerprint) {
			return []*x509.Certificate{root}, nil
		}
	}
	return nil, failf(exitConflict, "%s does not hold the root of --fingerprint; what is there is %s", file, client.Fingerprint(roots[0]))
}

// isPinned tells whether the fingerprint, in whatever form it is written, is the
// certificate's.
func isPinned(cert *x509.Certificate, fingerprint string) bool {
	own, err := client.ParseFingerprint(client.Fingerprint(cert))
	want, err2 := client.ParseFingerprint(fingerprint)
	return err == nil && err2 == nil && string(own) == string(want)
}

// shownRoot is the root that a server shows, if it is known to be the right one.
func (a *app) shownRoot(ctx context.Context, server string) (*x509.Certificate, error) {
	if _, err := client.Address(server); err != nil {
		return nil, usagef("%w", err)
	}
	if err := a.checkFingerprint(); err != nil {
		return nil, err
	}
	c := client.Config{Server: server, Fingerprint: a.fingerprint}
	if c.Fingerprint == "" {
		c.CAFile = a.rootFor(server)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	root, err := client.ShownRoot(ctx, c)
	var unknown *client.UnknownRoot
	var unsigned x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return nil, failf(exitConflict, "the server %s shows the root %s; if that is what the CA's admin says, give it as --fingerprint",
			unknown.Server, client.Fingerprint(unknown.Shown))
	case errors.Is(err, client.ErrOtherRoot):
		return nil, failf(exitConflict, "%w; check the address, and --fingerprint with what the CA's admin says", err)
	case errors.As(err, &unsigned):
		return nil, failf(exitConflict, "%w; check the address, and --ca with what the CA's admin says", err)
	case errors.As(err, new(tls.RecordHeaderError)):
		return nil, noTLS(server)
	case err != nil:
		return nil, failf(exitUnavailable, "%w; check the address, and --fingerprint or --ca", err)
	}
	return root, nil
}

// rootView is a root as json and yaml show it.
type rootView struct {
	Subject     string `json:"subject"`
	Fingerprint string `json:"fingerprint"`
	NotBefore   string `json:"notBefore"`
	NotAfter    string `json:"notAfter"`
	PEM         string `json:"pem"`
}

func (a *app) printRoots(roots []*x509.Certificate) error {
	var views []rootView
	r := rows{columns: columnsOf("subject", "fingerprint", "not before", "not after")}
	text := ""
	for _, root := range roots {
		v := rootView{
			Subject: root.Subject.String(), Fingerprint: client.Fingerprint(root), PEM: rootPEM(root),
			NotBefore: root.NotBefore.UTC().Format(time.RFC3339), NotAfter: root.NotAfter.UTC().Format(time.RFC3339),
		}
		views = append(views, v)
		r.add(v.Fingerprint, v.Subject, v.Fingerprint, v.NotBefore, v.NotAfter)
		text += v.PEM
		if a.format == "table" {
			a.note("%s: %s, until %s", v.Subject, v.Fingerprint, v.NotAfter)
		}
	}
	if a.format == "table" {
		return a.write(text)
	}
	return a.print(map[string]any{"roots": views}, r)
}

func rootPEM(root *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
}
