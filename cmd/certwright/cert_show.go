package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func certShowCommand(a *app) *cobra.Command {
	asPEM := false
	cmd := leaf{
		use: "show ID|SERIAL|FILE [flags]", short: "Show the whole story of a certificate",
		long: `
Shows what the server knows of a certificate: its names and times, who asked for
it and by which join token, which policy version and grant allowed it, and where
it stands in the ledger. It is named by its ID (SHA-256 of the DER, 64 digits),
its serial (hexadecimal, with or without colons), or a file that holds it.`,
		example: `
certwright cert show svc.internal.crt
certwright cert show 0199b2c3d4e5f60718293a4b5c6d7e8f -o json
certwright cert show svc.internal.crt --pem`,
		next: "certwright ledger show INDEX",
		args: exactly("an ID, a SERIAL or a FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			certificate, err := a.findCertificate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asPEM {
				return a.write(certificate.GetPem() + certificate.GetChainPem())
			}
			if err := a.print(certificate, a.certificateStory(certificate)); err != nil {
				return err
			}
			if a.format == "table" || a.format == "wide" {
				a.note("Next: certwright ledger show %s", strconv.FormatUint(certificate.GetLedgerIndex(), 10))
			}
			return nil
		},
	}.command()
	cmd.Flags().BoolVar(&asPEM, "pem", false, "the certificate and its intermediates as PEM instead")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

// findCertificate asks the server for the certificate that text names.
func (a *app) findCertificate(ctx context.Context, text string) (*pb.Certificate, error) {
	digits := strings.ToLower(strings.ReplaceAll(text, ":", ""))
	id, serial := "", ""
	var file *x509.Certificate
	_, stat := os.Lstat(text)
	switch {
	case regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(digits):
		id = digits
	case errors.Is(stat, fs.ErrPermission):
		return nil, missing(stat)
	case stat == nil:
		certificates, err := a.readCertificates(text)
		if err != nil {
			return nil, err
		}
		file = certificates[0]
		sum := sha256.Sum256(file.Raw)
		id = hex.EncodeToString(sum[:])
	default:
		parsed, err := identity.ParseSerial(text)
		if err != nil && strings.ContainsAny(text, "./\\") { // a file's name, by the look of it
			return nil, failf(exitNotFound, "%s: no such file", text)
		}
		if err != nil {
			return nil, usagef("%q is no ID (64 hexadecimal digits), no serial (up to 32) and no file", text)
		}
		serial = parsed.String()
	}
	var found *pb.Certificate
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := pb.NewCertificateServiceClient(conn)
		if serial != "" {
			page, err := client.ListCertificates(ctx, &pb.ListCertificatesRequest{PageSize: 2, Filter: "serial = " + quoted(serial)})
			if err != nil {
				return err
			}
			if len(page.GetCertificates()) == 0 {
				return failf(exitNotFound, "there is no certificate with serial %s; certwright cert list shows what there is", serial)
			}
			if len(page.GetCertificates()) > 1 {
				return failf(exitConflict, "several certificates have the serial %s; certwright cert list --filter 'serial = \"%s\"' -o name shows their IDs: name one of them", serial, serial)
			}
			found = page.GetCertificates()[0]
			if id = found.GetId(); id == "" { // reserved or abandoned: there is no more
				return nil
			}
		}
		certificate, err := client.GetCertificate(ctx, &pb.GetCertificateRequest{Id: id})
		found = certificate
		if file != nil && status.Code(err) == codes.NotFound {
			found, err = reservedAs(ctx, conn, file)
		}
		return err
	})
	return found, err
}

// reservedAs is the intent that a certificate was signed for, of which the server has
// no more: it came back in a recovery of the ledger.
func reservedAs(ctx context.Context, conn *grpc.ClientConn, cert *x509.Certificate) (*pb.Certificate, error) {
	serial, err := identity.SerialFromBig(cert.SerialNumber)
	if err != nil {
		return nil, unknownFile(cert)
	}
	page, err := pb.NewCertificateServiceClient(conn).ListCertificates(ctx, &pb.ListCertificatesRequest{PageSize: 10, Filter: "serial = " + quoted(serial.String())})
	if err != nil {
		return nil, err
	}
	for _, c := range page.GetCertificates() {
		if c.GetId() != "" {
			continue
		}
		e, err := pb.NewLedgerServiceClient(conn).GetEntry(ctx, &pb.GetEntryRequest{Index: c.GetLedgerIndex()})
		if err != nil {
			return nil, err
		}
		parsed, err := entry.Parse(e.GetData())
		if err != nil {
			return nil, err
		}
		body, err := entry.ParseBody(parsed.Draft)
		if err != nil {
			return nil, err
		}
		if intent, ok := body.(entry.Intent); ok && bytes.Equal(intent.TBS, cert.RawTBSCertificate) {
			return c, nil
		}
	}
	return nil, unknownFile(cert)
}

func unknownFile(cert *x509.Certificate) error {
	return failf(exitNotFound, "the ledger does not have the certificate with serial %x: it is another CA's, or its entry was lost in a recovery, after which it cannot be revoked here; "+
		"replace it at its holder, and if its key is compromised, revoke the issuing CA", cert.SerialNumber)
}
