package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/server/setup"
)

func configGroup(a *app) *cobra.Command {
	return group("config", "The server's configuration: check, show, explain", `
The server's settings come from flags, CERTWRIGHT_* variables and one YAML file,
in this order; what none of them sets has its default.`,
		configValidateCommand(a), configShowCommand(a), configExplainCommand(a))
}

// configFlag gives a command --config and --dev.
func configFlags(cmd *cobra.Command, file *string, dev *bool) {
	cmd.Flags().StringVar(file, "config", "", "configuration file (CERTWRIGHT_CONFIG; default DATA/certwright.yaml)")
	cmd.Flags().BoolVar(dev, "dev", false, "as serve --dev sees it (default: if the data folder was made by it)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// settings loads the configuration; given are flags by their setting's key. A data
// folder that was made by --dev needs no --dev to be read.
func (a *app) settings(cmd *cobra.Command, file string, dev bool, given map[string]string) (*config.Settings, error) {
	return a.loadSettings(cmd, config.Sources{File: file, Flags: given, Dev: dev, IsDev: madeByDev})
}

// madeByDev tells whether a data folder was made by serve --dev.
func madeByDev(data string) bool {
	format, err := datadir.Read(data)
	return err == nil && format.Mode == datadir.Dev
}

// loadSettings loads the configuration; --data and the environment are added.
func (a *app) loadSettings(cmd *cobra.Command, src config.Sources) (*config.Settings, error) {
	flags := maps.Clone(src.Flags)
	if flags == nil {
		flags = map[string]string{}
	}
	if cmd.Flags().Changed("data") {
		flags["data"] = a.data
	}
	src.Flags, src.Environ = flags, os.Environ()
	settings, err := config.Load(src)
	if settings != nil {
		for _, warning := range settings.Warnings {
			a.note("warning: %s", warning)
		}
	}
	return settings, err
}

// badSettings words a configuration that cannot be read: one line that says how
// many things are wrong, then one line each.
func badSettings(code int, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return missing(err)
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	f := &failure{code: code, text: lines[0], err: err}
	if len(lines) > 1 {
		f.text = "the configuration has faults; each line below says where"
		f.detail = lines
	}
	return f
}

func configValidateCommand(a *app) *cobra.Command {
	file, dev := "", false
	cmd := leaf{
		use: "validate [FILE] [flags]", short: "Check a configuration file",
		long: `
Reads a configuration file as serve would: unknown keys come with file, line and
the nearest known key. If the CA of the data folder is there, its name constraints
must permit the server's names. Exits with 8 if something is wrong.`,
		example: `
certwright config validate
certwright config validate certwright-data/certwright.yaml -o json`,
		next: "certwright serve",
		args: atMost("FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				file = args[0]
			}
			settings, err := a.settings(cmd, file, dev, nil)
			var warnings []string
			if settings != nil {
				file, warnings = settings.File, settings.Warnings
			}
			if err != nil {
				return a.judged(file, warnings, badSettings(exitFound, err))
			}
			if err := setup.CheckServerNames(&settings.Config); err != nil {
				return a.judged(file, warnings, failf(exitFound, "%w", err))
			}
			from := "No file: the defaults and the environment"
			if file != "" {
				from = file
			}
			a.note("%s: fine.", from)
			return a.judged(file, warnings, nil)
		},
	}.command()
	configFlags(cmd, &file, &dev)
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

func configShowCommand(a *app) *cobra.Command {
	file, dev := "", false
	cmd := leaf{
		use: "show [flags]", short: "Show all settings as they hold",
		long: `
Shows every setting with its value and where it comes from. -o yaml prints a
configuration file that gives the same settings.`,
		example: `
certwright config show
certwright config show --dev -o yaml`,
		next: "certwright config explain KEY",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settings(cmd, file, dev, nil)
			if err != nil {
				return badSettings(exitUsage, err)
			}
			if a.format == "yaml" {
				return a.write(settings.YAML())
			}
			return a.printExplained(false, settings.Explanations()...)
		},
	}.command()
	configFlags(cmd, &file, &dev)
	a.outputFlag(cmd)
	return cmd
}

func configExplainCommand(a *app) *cobra.Command {
	file, dev := "", false
	cmd := leaf{
		use: "explain KEY [flags]", short: "Explain one setting and where its value comes from",
		long: `
Explains a setting: its value, the source of that (flag, environment, file and
line, default), the flag and variables that set it, and what it means. The name of
a section, such as listen, stands for all its settings.`,
		example: `
certwright config explain listen.https
certwright config explain listen
certwright config explain ledger.lock -o json`,
		next: "certwright config validate",
		args: exactly("a KEY such as listen.https"),
		run: func(cmd *cobra.Command, args []string) error {
			settings, err := a.settings(cmd, file, dev, nil)
			if settings == nil {
				return badSettings(exitUsage, err)
			}
			explained := settings.Group(args[0])
			if len(explained) == 0 {
				one, err := settings.Explain(args[0])
				if err != nil {
					return failf(exitNotFound, "%w; certwright config show lists all", err)
				}
				explained = append(explained, one)
			}
			if err != nil {
				a.note("warning: the configuration has faults; certwright config validate lists them")
			}
			return a.printExplained(true, explained...)
		},
	}.command()
	configFlags(cmd, &file, &dev)
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return (&config.Settings{}).Keys(), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// setting is one setting in the JSON of config show and config explain.
type setting struct {
	Key     string   `json:"key"`
	Value   string   `json:"value"`
	Source  string   `json:"source"`
	Default string   `json:"default"`
	Flag    string   `json:"flag"`
	Env     []string `json:"env"`
	Manual  string   `json:"manual"`
}

func (a *app) printExplained(story bool, explained ...config.Explanation) error {
	r := rows{portrait: story, columns: columnsOf("key", "value", "source", "+default", "+flag", "+environment", "+meaning")}
	var all []setting
	for _, e := range explained {
		flag := ""
		if e.Flag != "" {
			flag = "--" + e.Flag
		}
		meaning := strings.Join(strings.Fields(e.Manual), " ")
		all = append(all, setting{Key: e.Key, Value: e.Value, Source: e.Source, Default: e.Default, Flag: flag, Env: e.Env, Manual: meaning})
		r.add(e.Key, e.Key, e.Value, e.Source, e.Default, flag, strings.Join(e.Env, ", "), meaning)
	}
	if !story {
		return a.print(map[string]any{"settings": all}, r)
	}
	for i := range r.columns {
		r.columns[i].wide = false
	}
	if len(all) > 1 {
		return a.print(map[string]any{"settings": all}, r)
	}
	return a.print(all[0], r)
}
