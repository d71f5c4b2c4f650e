package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/setup"
)

// initFlags are the flags of init.
type initFlags struct {
	config, passphraseFile, credential         string
	serverNames                                []string
	ceremony                                   setup.Ceremony
	rootValidity, issuingValidity, crlValidity span
}

func initCommand(a *app) *cobra.Command {
	f := &initFlags{}
	cmd := leaf{
		use: "init [flags]", short: "Make a CA for production: root and issuing CA",
		long: `
Makes a root and an issuing CA. Keys are encrypted under the passphrase of a file
or of a systemd credential. The root's key goes into --root-dir, outside the
server's folder: take it offline afterwards, the server runs without it. Also
made: the root's (empty) CRL, the configuration file, the policy and the ledger
with its first entries. Nothing that is there is overwritten.

The server's own certificate comes from this CA: without --server-name it has the
name of this host, localhost and 127.0.0.1, as far as the name constraints permit
them. A constraint on DNS names leaves addresses free, and the other way round.

For a try on one machine, certwright serve --dev needs none of this.`,
		example: `
certwright init --data /var/lib/certwright --root-dir /media/usb/root --passphrase-file /etc/certwright/passphrase
certwright init --data ./ca --root-dir ./root --passphrase-file ./passphrase --permit-dns .corp.internal --server-name ca.corp.internal
certwright init --config ca.yaml --data ./ca --root-dir ./root --credential passphrase --name "Example Corp"`,
		next: "certwright serve --data DIR",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), a, cmd)
		},
	}.command()
	c, flags := &f.ceremony, cmd.Flags()
	flags.StringVar(&f.config, "config", "", "configuration file to begin with (CERTWRIGHT_CONFIG); it is copied into the data folder")
	flags.StringVar(&c.RootDir, "root-dir", "", "folder for the root's key, outside the data folder; made if it is not there")
	flags.StringVar(&f.passphraseFile, "passphrase-file", "", "file with the passphrase of the keys, outside the data folder")
	flags.StringVar(&f.credential, "credential", "", "name of the systemd credential with the passphrase")
	flags.StringSliceVar(&f.serverNames, "server-name", nil, "DNS name or IP address of the server; may be repeated (default: this host's names, see above)")
	flags.StringVar(&c.CommonName, "name", "", `what the CAs are called, before "Root CA" and "Issuing CA" (default Certwright)`)
	flags.StringVar(&c.Organization, "organization", "", "organization in their subjects")
	flags.StringVar(&c.RootAlgorithm, "root-key", keys.ECDSAP384, "kind of key of the root: "+strings.Join(keyNames, ", "))
	flags.StringVar(&c.IssuingAlgorithm, "issuing-key", keys.ECDSAP256, "kind of key of the issuing CA")
	flags.Var(&f.rootValidity, "root-validity", "how long the root is valid (default 20 years)")
	flags.Var(&f.issuingValidity, "issuing-validity", "how long the issuing CA is valid (default 5 years)")
	flags.Var(&f.crlValidity, "crl-validity", "how long the root's CRL is valid (default: as long as the issuing CA)")
	flags.StringSliceVar(&c.Permit.DNS, "permit-dns", nil, "name constraint: only names in this domain; may be repeated")
	flags.StringSliceVar(&c.Permit.IP, "permit-ip", nil, "name constraint: only addresses in this CIDR range; may be repeated")
	flags.StringSliceVar(&c.Exclude.DNS, "exclude-dns", nil, "name constraint: no names in this domain; may be repeated")
	flags.StringSliceVar(&c.Exclude.IP, "exclude-ip", nil, "name constraint: no addresses in this CIDR range; may be repeated")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("root-dir")
	_ = cmd.MarkFlagFilename("passphrase-file")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

func (f *initFlags) run(ctx context.Context, a *app, cmd *cobra.Command) error {
	given := map[string]string{}
	if f.passphraseFile != "" {
		given["keys.passphrase_file"] = absolute(f.passphraseFile)
	}
	if f.credential != "" {
		given["keys.credential"] = f.credential
	}
	if len(f.serverNames) > 0 {
		given["server_names"] = strings.Join(f.serverNames, ",")
	}
	settings, err := a.loadSettings(cmd, config.Sources{File: f.config, Flags: given, FlagNames: map[string]string{
		"keys.passphrase_file": "passphrase-file", "keys.credential": "credential", "server_names": "server-name",
	}})
	if err != nil {
		return badSettings(exitUsage, err)
	}
	c := f.ceremony
	c.Config, c.Actor = settings.Config, identity.Principal{Method: identity.LocalSocket, ID: "admin"}.String()
	if settings.IsDefault("server_names") {
		c.HostNames = hostNames(os.Hostname())
	}
	c.RootValidity, c.IssuingValidity, c.CRLValidity = time.Duration(f.rootValidity), time.Duration(f.issuingValidity), time.Duration(f.crlValidity)
	made, err := setup.Init(ctx, c)
	if err != nil {
		return err
	}
	fingerprint := fmt.Sprintf("sha256:%x", sha256.Sum256(made.Root.Raw))
	doc := map[string]string{
		"rootFingerprint": fingerprint, "rootKey": made.RootKey, "rootCertificate": made.RootCert, "rootCrl": made.RootCRL,
		"config": made.Config, "policy": made.Policy, "transcript": made.Transcript,
	}
	r := rows{portrait: true, columns: columnsOf("Root fingerprint", "Root", "Issuing CA", "Root key", "Root certificate", "Root CRL",
		"Configuration", "Policy", "Transcript")}
	r.add(fingerprint, fingerprint, title(made.Root), title(made.Issuing), made.RootKey, made.RootCert, made.RootCRL, made.Config, made.Policy, made.Transcript)
	if err := a.print(doc, r); err != nil {
		return err
	}
	a.note("Take %s offline now, and keep the passphrase elsewhere.", made.RootKey)
	a.note("Next: certwright serve --data %s", quote(settings.Config.Data))
	return nil
}

// hostNames are what a server on this host may be called.
func hostNames(host string, err error) []string {
	names := []string{"localhost", "127.0.0.1"}
	if err == nil && host != "" && host != names[0] {
		names = append([]string{host}, names...)
	}
	return names
}
