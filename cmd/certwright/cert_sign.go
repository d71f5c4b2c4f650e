package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/plainfile"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// maxInput is what a file given to the CLI may have in bytes.
const maxInput = 4 << 20

func certSignCommand(a *app) *cobra.Command {
	w := &wish{}
	out, force := "", false
	cmd := leaf{
		use: "sign FILE [flags]", short: "Get a certificate for a CSR that you made",
		long: `
Sends a PKCS#10 request (PEM or DER; - is standard input) to the server. Its
names and its public key count; everything else in it does not. Prints the
certificate and its intermediates as PEM, or writes NAME.crt and NAME.chain.pem
into --out, NAME being that of the CSR's file.`,
		example: `
certwright cert sign svc.csr > svc.pem
certwright cert sign svc.csr --out . --validity 30d --request-id deploy-4711
openssl req -new -key svc.key -subj / -addext subjectAltName=DNS:svc.internal | certwright cert sign - -o json`,
		next: "certwright cert inspect svc.pem",
		args: exactly("a FILE with a CSR"),
		run: func(cmd *cobra.Command, args []string) error {
			if w.proof && out == "" {
				return usagef("--proof writes a file: name its folder with --out")
			}
			csr, err := a.readCSR(args[0])
			if err != nil {
				return err
			}
			base := strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			if args[0] == "-" {
				base = "certificate"
			}
			files := &fileSet{dir: out, force: force}
			defer files.discard()
			if out != "" && !w.dryRun {
				if err := errors.Join(os.MkdirAll(out, 0o750), files.vacant(w.files(base)...), files.reserve(base+".crt")); err != nil {
					return err
				}
			}
			return w.sign(cmd.Context(), a, csr, files, base)
		},
	}.command()
	w.flags(a, cmd)
	cmd.Flags().StringVar(&out, "out", "", "folder for NAME.crt and NAME.chain.pem (default: PEM on standard output)")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are there")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("out")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (w *wish) sign(ctx context.Context, a *app, csr string, files *fileSet, base string) error {
	var certificate *pb.Certificate
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		certificate, err = pb.NewCertificateServiceClient(conn).SignCertificate(ctx, w.request(a, csr))
		return err
	})
	switch {
	case err != nil:
		return err
	case w.dryRun:
		a.note("The policy allows it; nothing was signed.")
		return a.print(certificate, a.certificateStory(certificate))
	case files.dir != "":
		if err := files.keep(certificate, base); err != nil {
			return delivered(certificate, err)
		}
		if err := a.printIssued(certificate, files.dir, base, false); err != nil {
			return err
		}
		a.note("Next: %s", a.opensslVerify(filepath.Join(files.dir, base)))
		return w.proofCame(certificate)
	case a.format == "table":
		return a.write(certificate.GetPem() + certificate.GetChainPem())
	default:
		return a.print(certificate, a.certificateStory(certificate))
	}
}

// readCSR is the CSR of a file in PEM; the server judges it.
func (a *app) readCSR(name string) (string, error) {
	text, err := a.readInput(name)
	if err != nil {
		return "", err
	}
	if block, rest := pem.Decode(text); block != nil {
		if more, _ := pem.Decode(rest); more != nil {
			return "", usagef("%s holds more than one PEM block (the second is a %s); give each CSR a file of its own", name, more.Type)
		}
		if !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") {
			return "", usagef("%s holds a %s, not a CERTIFICATE REQUEST", name, block.Type)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes})), nil
	}
	if _, err := x509.ParseCertificateRequest(text); err != nil {
		return "", usagef("%s is no CSR, neither in PEM nor in DER; openssl req -new makes one", name)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: text})), nil
}

// readInput is a file's content; "-" is standard input.
func (a *app) readInput(name string) ([]byte, error) {
	var from io.Reader = a.in
	if name != "-" {
		f, err := plainfile.Open(name)
		if errors.Is(err, plainfile.ErrNotRegular) {
			return nil, usagef("%w; - reads standard input", err)
		}
		if err != nil {
			return nil, missing(err)
		}
		defer f.Close() //nolint:errcheck // only read
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxInput {
		return nil, usagef("%s is larger than %d MiB; is it the right file?", name, maxInput>>20)
	}
	return text, nil
}

// missing words a file that is not there, that is none, or that is not this user's,
// with its exit code; other errors pass.
func missing(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && errors.Is(err, fs.ErrNotExist) {
		return failf(exitNotFound, "%s: no such file%s", at.Path, settingOf(err))
	}
	if errors.Is(err, plainfile.ErrNotRegular) {
		return usagef("%w; name a file", err)
	}
	if errors.As(err, &at) && errors.Is(err, fs.ErrPermission) {
		return failf(exitAuth, "%s: permission denied%s; run this as root or as the user that may", at.Path, settingOf(err))
	}
	return err
}

// settingOf names the setting or flag in front of a file's error.
func settingOf(err error) string {
	name, _, ok := strings.Cut(err.Error(), ": ")
	if ok && !strings.ContainsAny(name, " /") {
		return " (" + name + ")"
	}
	return ""
}
