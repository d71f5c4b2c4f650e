package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/proof"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// issueFlags are the flags of cert issue.
type issueFlags struct {
	wish
	key, out string
	force    bool
}

func certIssueCommand(a *app) *cobra.Command {
	f := &issueFlags{}
	cmd := leaf{
		use: "issue NAME... [flags]", short: "Make a key here and get a certificate for names",
		long: `
Makes a private key on this machine, asks the server for a certificate for the
names, and writes three files, readable by you alone:

  NAME.key        the private key (PKCS#8); the server never sees it
  NAME.crt        the certificate
  NAME.chain.pem  the intermediate certificates, without the root

A name is a DNS name, an IP address, a URI such as spiffe://… or a mailbox, by
its form; the files are named after the first. Files that are there are not
replaced without --force. A denial says every broken rule, the value and what is
allowed, and exits with 4.`,
		example: `
certwright cert issue svc.internal
certwright cert issue apps.internal web.svc.internal --validity 30d --out ./apps
certwright cert issue db.internal 10.1.2.3 --key ecdsa-p384 --label purpose=db
certwright cert issue web.team-a.internal --server ca.internal:8444 --ca root.crt --token-file token
certwright cert issue svc.internal --proof --force
certwright cert issue evil.example.com --dry-run`,
		next: "certwright cert list",
		args: atLeastOne("a NAME"),
		run: func(cmd *cobra.Command, args []string) error {
			names, err := parseNames(args)
			if err != nil {
				return err
			}
			return f.issue(cmd.Context(), a, names)
		},
	}.command()
	f.flags(a, cmd)
	cmd.Flags().StringVar(&f.key, "key", keyNames[0], "kind of key: "+strings.Join(keyNames, ", "))
	cmd.Flags().StringVar(&f.out, "out", ".", "folder for the files; made if it is not there")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace files that are there")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("out")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(keyNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *issueFlags) issue(ctx context.Context, a *app, names []identity.Identifier) (err error) {
	if !exists(f.out) {
		defer func() {
			if err != nil {
				_ = os.Remove(f.out) // unless something is in it
			}
		}()
	}
	base := fileBase(names[0])
	files := &fileSet{dir: f.out, force: f.force}
	defer files.discard()
	if err := f.makeRoom(files, base); err != nil {
		return err
	}
	key, err := newKey(f.key)
	if err != nil {
		return err
	}
	csr, err := client.CSR(key, client.Names{
		DNS: valuesOf(names, identity.DNS), IP: valuesOf(names, identity.IP),
		URI: valuesOf(names, identity.URI), Email: valuesOf(names, identity.Email),
	})
	if err != nil {
		return err
	}
	if !f.dryRun {
		text, err := client.EncodeKey(key)
		if err != nil {
			return err
		}
		if err := files.stage(base+".key", text); err != nil {
			return err
		}
	}
	var certificate *pb.Certificate
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		certificate, err = pb.NewCertificateServiceClient(conn).SignCertificate(ctx, f.request(a, string(csr)))
		return err
	})
	if err != nil {
		return err
	}
	if f.dryRun {
		a.note("The policy allows it; nothing was signed.")
		return a.print(certificate, a.certificateStory(certificate))
	}
	if err := isFor(certificate, key); err != nil {
		return err
	}
	if err := files.keep(certificate, base); err != nil {
		return delivered(certificate, err)
	}
	if err := a.printIssued(certificate, f.out, base, true); err != nil {
		return err
	}
	a.note("Next: %s", a.opensslVerify(filepath.Join(f.out, base)))
	return f.proofCame(certificate)
}

// makeRoom makes sure, before the server is asked, that the files can be kept: what
// could not be is not issued.
func (f *issueFlags) makeRoom(files *fileSet, base string) error {
	if f.dryRun {
		return nil
	}
	if err := os.MkdirAll(f.out, 0o750); err != nil {
		return err
	}
	return files.vacant(f.files(base, base+".key")...)
}

// isFor tells a certificate for this key from any other, before it is kept.
func isFor(c *pb.Certificate, key crypto.Signer) error {
	block, _ := pem.Decode([]byte(c.GetPem()))
	if block == nil {
		return failf(exitFailure, "the server's answer holds no certificate in PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return failf(exitFailure, "the server answered a certificate for another key (serial %s); nothing was written", c.GetSerial())
	}
	return nil
}

// keep writes the certificate and its chain beside what is staged, and publishes.
func (s *fileSet) keep(c *pb.Certificate, base string) error {
	if err := s.stage(base+".chain.pem", []byte(c.GetChainPem())); err != nil {
		return err
	}
	if err := s.stage(base+".crt", []byte(c.GetPem())); err != nil {
		return err
	}
	if text := c.GetLedgerProof(); text != "" {
		if err := s.stage(base+proof.Ending, []byte(text)); err != nil {
			return err
		}
	}
	return s.publish()
}

// printIssued says where the files are; json and yaml show the certificate.
func (a *app) printIssued(c *pb.Certificate, dir, base string, key bool) error {
	r := rows{portrait: true, columns: columnsOf("Key", "Certificate", "Chain", "Proof", "Names", "Owner", "Not after", "Serial", "Ledger index")}
	path := filepath.Join(dir, base)
	keyFile, proofFile := "", ""
	if c.GetLedgerProof() != "" {
		proofFile = path + proof.Ending
	}
	if key {
		keyFile = path + ".key"
	}
	r.add(handle(c), keyFile, path+".crt", path+".chain.pem", proofFile, strings.Join(allNames(c), ", "), c.GetOwner(),
		a.expiry(c.GetNotAfter()), c.GetSerial(), fmt.Sprint(c.GetLedgerIndex()))
	return a.print(c, r)
}

// opensslVerify is the command by which anybody can check the files.
func (a *app) opensslVerify(path string) string {
	root := a.rootFile()
	if root == "" {
		root = "root.crt"
	}
	return fmt.Sprintf("openssl verify -CAfile %s -untrusted %s %s", quote(filepath.Clean(root)), quote(path+".chain.pem"), quote(path+".crt"))
}

// quote is the word for a shell.
func quote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./_-:@%+=,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
