//go:build unix

package main

import (
	_ "embed"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/client/steady"
)

//go:embed agent.service
var agentUnit string

const stateFolder = "/var/lib/certwright-agent"

// unitFlags are those of agent install-unit.
type unitFlags struct {
	config, unit, program string
	dryRun, force         bool
}

func agentInstallUnitCommand(a *app) *cobra.Command {
	f := &unitFlags{config: defaultAgentFile, unit: "/etc/systemd/system/certwright-agent.service"}
	cmd := leaf{
		use: "install-unit [flags]", short: "Write a systemd unit for the agent",
		long: `
Writes a hardened unit of Type=notify for certwright agent run, with a watchdog. The
agent's file must be there and right: the folders of its certificates are made if
they are not there, and they and the state folder are all that the service may write
to. After a change of folders write it again, with --force.

With --dry-run the unit is printed and nothing is written.`,
		example: `
certwright agent install-unit --config /etc/certwright/agent.yaml
certwright agent install-unit --config agent.yaml --dry-run`,
		next: "systemctl daemon-reload && systemctl enable --now certwright-agent",
		args: exactly(),
		run: func(_ *cobra.Command, _ []string) error {
			c, err := agentFile(f.config)
			if err != nil {
				return err
			}
			return a.installUnit(f, c)
		},
	}.command()
	agentConfigFlag(cmd, &f.config)
	flags := cmd.Flags()
	flags.StringVar(&f.unit, "unit", f.unit, "file of the unit")
	flags.StringVar(&f.program, "program", "", "path of certwright in the unit (default: of this one)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the unit, write nothing")
	flags.BoolVar(&f.force, "force", false, "replace the file if it is there")
	return cmd
}

// text is the unit.
func (f *unitFlags) text(c *config.Config) (string, error) {
	program := f.program
	if program == "" {
		path, err := os.Executable()
		if err != nil {
			return "", err
		}
		program = path
	}
	file, err := filepath.Abs(f.config)
	if err != nil {
		return "", err
	}
	folders := writtenTo(c)
	for _, path := range append([]string{program, file}, folders...) {
		if !filepath.IsAbs(path) || strings.IndexFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\%$`, r) }) >= 0 {
			return "", usagef("%q cannot stand in a unit: it must be an absolute path without spaces, quotes, %% and $", path)
		}
	}
	text := strings.NewReplacer("@PROGRAM@", program, "@CONFIG@", file, "@FOLDERS@", strings.Join(folders, " ")).Replace(agentUnit)
	if len(folders) == 0 {
		text = strings.Replace(text, "ReadWritePaths=\n", "", 1)
	}
	if c.State != stateFolder {
		text = strings.NewReplacer("StateDirectory=certwright-agent\n", "", "StateDirectoryMode=0755\n", "").Replace(text)
	}
	return text, nil
}

func (a *app) installUnit(f *unitFlags, c *config.Config) error {
	text, err := f.text(c)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.write(text)
	}
	files := &fileSet{dir: filepath.Dir(f.unit), force: f.force, flag: "--unit"}
	defer files.discard()
	if err := files.vacant(filepath.Base(f.unit)); err != nil {
		return err
	}
	for _, folder := range writtenTo(c) {
		made, err := steady.Make(folder, 0o755) // names are no secret; each file in it has permissions of its own
		if err != nil {
			return err
		}
		_ = made.Close()
	}
	if err := files.stagePublic(filepath.Base(f.unit), []byte(text)); err != nil {
		return err
	}
	if err := files.publish(); err != nil {
		return err
	}
	a.note("Wrote %s.", f.unit)
	a.note("Next: systemctl daemon-reload && systemctl enable --now %s", quote(filepath.Base(f.unit)))
	return nil
}

// writtenTo are the folders that the service writes to, besides its usual state
// folder.
func writtenTo(c *config.Config) []string {
	var folders []string
	add := func(path string) {
		inState := path == c.State || strings.HasPrefix(path, c.State+"/")
		if path != "" && !slices.Contains(folders, path) && (!inState || path == c.State && path != stateFolder) {
			folders = append(folders, path)
		}
	}
	add(c.State)
	for _, each := range c.Certificates {
		add(each.Folder)
		if each.Source == config.ACMESource {
			add(c.ACME.Webroot)
		}
	}
	return folders
}
