//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/yaml"

	"github.com/certwright/certwright/agent"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/client/steady"
)

// joinFlags are the flags of join.
type joinFlags struct {
	names        []string
	profile, key string
	dir, state   string
	force        bool
}

// maxJoins is how often somebody may try in an hour: no program does.
const maxJoins = 60

// joinDir is where the agent looks for its file.
var joinDir = filepath.Dir(defaultAgentFile)

func joinCommand(a *app) *cobra.Command {
	f := &joinFlags{}
	cmd := leaf{
		use: "join URL [flags]", short: "Get the first certificate of this host by a join token",
		long: `
Makes this host one of the CA's, in one line that "certwright token create --join"
prints on the CA's machine: finds the server's root by its --fingerprint, makes a key
here, gets a certificate for this host's name (or --name) by the token, and writes

  DIR/root.crt      the CA's root
  DIR/agent.yaml    the agent's file: with it "certwright agent run" goes on renewing
  STATE/…           key and certificate, where the agent keeps them

The token comes from --token-file, else from standard input: at a terminal you are
asked for it. It is never taken from the command line, and not kept. Nothing that is
there is overwritten without --force, which replaces the agent's file and asks for a
new certificate by the token: one that is there is not renewed.`,
		example: `
echo cwt_… | certwright join https://ca.internal:8444 --fingerprint sha256:…
certwright join ca.internal --fingerprint sha256:… --token-file join.token --name web.internal --name 10.1.2.3
certwright join ca.internal --ca root.crt --token-file join.token --dir ./agent --force`,
		next: "certwright agent run --config DIR/agent.yaml",
		args: exactly("the URL of the server"),
		run: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("dir") && !cmd.Flags().Changed("state") {
				f.state = filepath.Join(f.dir, "state")
			}
			return f.join(cmd.Context(), a, args[0])
		},
	}.command()
	flags := cmd.Flags()
	flags.StringSliceVar(&f.names, "name", nil, "name of the certificate; may be repeated (default: this host's name)")
	flags.StringVar(&f.profile, "profile", "", "profile to issue under (default: the one that the token allows)")
	flags.StringVar(&f.key, "key", keyNames[0], "kind of key: "+strings.Join(keyNames, ", "))
	flags.StringVar(&f.dir, "dir", joinDir, "folder for root.crt and agent.yaml; made if it is not there")
	flags.StringVar(&f.state, "state", stateFolder, "the agent's state folder, with key and certificate; DIR/state if --dir is given")
	flags.BoolVar(&f.force, "force", false, "replace an agent's file, a root and a certificate that are there")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagDirname("state")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(keyNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *joinFlags) join(ctx context.Context, a *app, server string) (err error) {
	c, err := f.config(server)
	if err != nil {
		return err
	}
	// Before anything is done there, and so that taking it back leads nowhere else.
	for _, each := range []struct{ flag, folder string }{{"--dir", f.dir}, {"--state", f.state}} {
		if err := config.Owned(each.folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failf(exitConflict, "%v; choose another %s", err, each.flag)
		}
	}
	made := tracesOf(f.dir, c)
	obtained := false
	defer func() {
		if err != nil && !obtained {
			made.remove()
		}
	}()
	files := &fileSet{dir: f.dir, force: f.force, flag: "--dir"}
	if err := f.vacant(files, c); err != nil {
		return err
	}
	root, err := a.shownRoot(ctx, server)
	if err != nil {
		return err
	}
	if a.tokenFile == "" {
		a.tokenFile = "-"
	}
	token, err := a.token()
	if err != nil {
		return err
	}
	if err := f.obtain(ctx, a, c, root, token); err != nil {
		return err
	}
	obtained = true
	c.Certificates[0].Auth = config.Auth{}
	text, err := f.file(c, server)
	if err != nil {
		return err
	}
	defer files.discard()
	if err := errors.Join(files.stagePublic("root.crt", []byte(rootPEM(root))), files.stage("agent.yaml", text)); err != nil {
		return err
	}
	if err := files.publish(); err != nil {
		return fmt.Errorf("the certificate is there, in %s: %w", c.Certificates[0].Folder, err)
	}
	a.note("Key and certificate are in %s.", c.Certificates[0].Folder)
	a.note("Next: certwright agent run --config %s", quote(filepath.Join(f.dir, "agent.yaml")))
	return nil
}

// config is the agent's, as it is written later.
func (f *joinFlags) config(server string) (*config.Config, error) {
	if len(f.names) == 0 {
		host, err := os.Hostname()
		if err != nil || host == "" {
			return nil, usagef("this host has no name; give --name")
		}
		f.names = []string{host}
	}
	ids, err := parseNames(f.names)
	if err != nil {
		return nil, err
	}
	one := config.Certificate{}
	one.SetDefaults()
	one.Name, one.Names, one.Profile, one.Key.Type = strings.TrimLeft(fileBase(ids[0]), "_"), f.names, f.profile, f.key
	one.Name = one.Name[:min(len(one.Name), 63)]
	c := &config.Config{}
	c.SetDefaults()
	c.Server, c.CAFile, c.State, c.Certificates = server, filepath.Join(f.dir, "root.crt"), f.state, []config.Certificate{one}
	if err := c.Check(); err != nil {
		return nil, badSettings(exitUsage, err)
	}
	return c, nil
}

// vacant makes sure that nothing of another is replaced.
func (f *joinFlags) vacant(files *fileSet, c *config.Config) error {
	if err := ownFolder(f.dir, "--dir"); err != nil {
		return err
	}
	if err := ownFolder(f.state, "--state"); err != nil {
		return err
	}
	if err := files.vacant("agent.yaml", "root.crt"); err != nil {
		return err
	}
	if folder := c.Certificates[0].Folder; !f.force && exists(filepath.Join(folder, config.Current)) {
		return failf(exitConflict, "%s is there already: this host has joined; give --force to go on all the same, or another --state", folder)
	}
	return nil
}

// ownFolder makes the folder if it is not there, and refuses one in which others could
// put another root or file in the place of ours. All may look into it: a root is for
// everybody, and the rest has modes of its own.
func ownFolder(dir, flag string) error {
	made, err := steady.Make(dir, 0o755)
	if err != nil {
		return missing(err)
	}
	defer made.Close() //nolint:errcheck // only looked at
	info, err := made.Stat(".")
	if err == nil {
		err = config.Owned(dir)
	}
	if err == nil && !steady.Ours(info) {
		err = fmt.Errorf("%s is another user's", dir)
	}
	if err != nil {
		return failf(exitConflict, "%v; choose another %s", err, flag)
	}
	return nil
}

// obtain has the agent get the certificate. The root and the token are files of its
// own, gone afterwards, so that what fails leaves nothing behind.
func (f *joinFlags) obtain(ctx context.Context, a *app, c *config.Config, trusted *x509.Certificate, token string) error {
	root, err := steady.Open(f.dir)
	if err != nil {
		return missing(err)
	}
	defer root.Close() //nolint:errcheck // what could be done was
	name := ".join-" + rand.Text()
	inside, err := steady.New(root, name, 0o700)
	if err != nil {
		return missing(err)
	}
	defer root.RemoveAll(name) //nolint:errcheck // likewise
	defer inside.Close()       //nolint:errcheck // likewise
	dir := filepath.Join(f.dir, name)
	first := *c
	first.CAFile, first.TriesPerHour = filepath.Join(dir, "root.crt"), maxJoins
	first.Certificates = append([]config.Certificate(nil), c.Certificates...)
	first.Certificates[0].Auth.TokenFile = filepath.Join(dir, "token")
	if err := errors.Join(steady.Create(inside, "root.crt", steady.Plain([]byte(rootPEM(trusted)), 0o600)), steady.Create(inside, "token", steady.Plain([]byte(token), 0o600))); err != nil {
		return err
	}
	// What the token allows is asked for, whatever a certificate that is there allows.
	results, err := a.attempt(ctx, agent.Options{Config: &first, Anew: true}, nil, f.force)
	if err != nil {
		return err
	}
	if err := results[0].Err; err != nil {
		return a.notJoined(err, c.Server)
	}
	return a.printObtained(results)
}

// notJoined words why there is no certificate, once: no table is printed of it.
func (a *app) notJoined(err error, server string) error {
	if speaksHTTP(status.Convert(err)) {
		return notGRPC(server)
	}
	return fromAgent(err)
}

// file is the agent's file. It is read as the agent reads it before it is written.
func (f *joinFlags) file(c *config.Config, server string) ([]byte, error) {
	one := map[string]any{"name": c.Certificates[0].Name, "names": f.names}
	if f.profile != "" {
		one["profile"] = f.profile
	}
	if f.key != keyNames[0] {
		one["key"] = map[string]any{"type": f.key}
	}
	text, err := yaml.Marshal(map[string]any{
		"server": server, "ca_file": "root.crt", "state": c.State, "certificates": []any{one},
	})
	if err != nil {
		return nil, err
	}
	text = append([]byte("# The agent's file, made by certwright join. What else it may have: docs/agent-configuration.md.\n"), text...)
	_, err = config.Parse(filepath.Join(f.dir, "agent.yaml"), text)
	return text, err
}
