package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verdict is the JSON of cert verify.
type verdict struct {
	File    string   `json:"file"`
	Valid   bool     `json:"valid"`
	Problem string   `json:"problem"`
	Path    []string `json:"path"` // subjects or names, from the leaf to the root
}

func certVerifyCommand(a *app) *cobra.Command {
	chain, name, at := "", "", ""
	cmd := leaf{
		use: "verify FILE [flags]", short: "Check a certificate against its root, without asking the server",
		long: `
Checks that a certificate leads to a trusted root, is valid now, and (with --name)
is for a name. The root is that of --ca, else DATA/root.crt; the intermediates
are those of --chain, else of NAME.chain.pem beside NAME.crt, and those in FILE.
Exits with 8 if it does not verify.`,
		example: `
certwright cert verify svc.internal.crt
certwright cert verify svc.internal.crt --ca root.crt --chain svc.internal.chain.pem --name svc.internal
certwright cert verify svc.internal.crt --at 2027-01-01T00:00:00Z`,
		next: "certwright cert show FILE",
		args: exactly("a FILE with a certificate"),
		run: func(_ *cobra.Command, args []string) error {
			file := args[0]
			if beside := strings.TrimSuffix(file, ".crt") + ".chain.pem"; chain == "" && beside != file+".chain.pem" && exists(beside) {
				chain = beside
			}
			options, err := a.verifyOptions(chain, name, at)
			if err != nil {
				return err
			}
			certificates, err := a.readCertificates(file)
			if err != nil {
				return err
			}
			for _, c := range certificates[1:] {
				options.Intermediates.AddCert(c)
			}
			return a.printVerdict(file, certificates[0], options)
		},
	}.command()
	cmd.Flags().StringVar(&chain, "chain", "", "file with the intermediate certificates, PEM")
	cmd.Flags().StringVar(&name, "name", "", "the DNS name or IP address that it must be for")
	cmd.Flags().StringVar(&at, "at", "", "check as of this time, RFC 3339 (default: now)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("chain")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (a *app) verifyOptions(chain, name, at string) (x509.VerifyOptions, error) {
	options := x509.VerifyOptions{
		DNSName: name, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if a.rootFile() == "" {
		return options, usagef("there is no root to check against: give --ca, or --data with a root.crt in it")
	}
	var err error
	if options.Roots, err = readPool(a.rootFile()); err != nil {
		return options, err
	}
	if err := a.onlyCAs(); err != nil {
		return options, err
	}
	if at != "" {
		if options.CurrentTime, err = time.Parse(time.RFC3339, at); err != nil {
			return options, usagef("--at %q is not a time such as 2027-01-01T00:00:00Z", at)
		}
	}
	if chain != "" {
		certificates, err := a.readCertificates(chain)
		if err != nil {
			return options, err
		}
		for _, c := range certificates {
			options.Intermediates.AddCert(c)
		}
	}
	return options, nil
}

// onlyCAs refuses a --ca with a certificate that is none of a CA: a leaf would
// vouch for itself.
func (a *app) onlyCAs() error {
	certificates, err := a.readCertificates(a.rootFile())
	if err != nil {
		return err
	}
	for _, c := range certificates {
		if !c.IsCA || !c.BasicConstraintsValid {
			return usagef("%s holds %s, which is no CA certificate; --ca takes the root's", a.rootFile(), title(c))
		}
	}
	return nil
}

func (a *app) printVerdict(file string, c *x509.Certificate, options x509.VerifyOptions) error {
	v := verdict{File: file, Path: []string{}}
	paths, err := c.Verify(options)
	state := "ok"
	if err != nil {
		state = "failed"
		v.Problem = strings.TrimPrefix(err.Error(), "x509: ")
	} else {
		v.Valid = true
		for _, each := range paths[0] {
			v.Path = append(v.Path, title(each))
		}
	}
	r := rows{portrait: true, columns: columnsOf("File", "Verdict", "Path", "Problem", "Not after")}
	r.add(file, file, state, strings.Join(v.Path, " < "), v.Problem, c.NotAfter.UTC().Format(time.RFC3339))
	if printErr := a.print(v, r); printErr != nil {
		return printErr
	}
	if err == nil {
		return nil
	}
	return failf(exitFound, "%s does not verify: %s; %s", file, v.Problem, advice(err))
}

// title is what a person calls a certificate.
func title(c *x509.Certificate) string {
	switch {
	case c.Subject.String() != "":
		return c.Subject.String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	}
	return fmt.Sprintf("%032x", c.SerialNumber)
}

func advice(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return "is --ca its root, and has --chain all intermediates?"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "issue a new one with: certwright cert issue NAME"
	case errors.As(err, &host):
		return "certwright cert inspect shows its names"
	}
	return "certwright cert inspect shows what it says"
}
