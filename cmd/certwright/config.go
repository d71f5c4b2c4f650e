package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/server/config"
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
	cmd.Flags().BoolVar(dev, "dev", false, "as serve --dev sees it")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// settings loads the configuration; given are flags by their setting's key.
func (a *app) settings(cmd *cobra.Command, file string, dev bool, given map[string]string) (*config.Settings, error) {
	flags := map[string]string{}
	if cmd.Flags().Changed("data") {
		flags["data"] = a.data
	}
	for key, value := range given {
		flags[key] = value
	}
	settings, err := config.Load(config.Sources{File: file, Flags: flags, Environ: os.Environ(), Dev: dev})
	if err != nil {
		return nil, err
	}
	for _, warning := range settings.Warnings {
		a.note("warning: %s", warning)
	}
	return settings, nil
}

// badSettings words a configuration that cannot be read: one line that says how
// many things are wrong, then one line each.
func badSettings(code int, err error) error {
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
the nearest known key. Exits with 8 if something is wrong.`,
		example: `
certwright config validate
certwright config validate /etc/certwright/certwright.yaml`,
		next: "certwright serve",
		args: cobra.MaximumNArgs(1),
		run: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				file = args[0]
			}
			settings, err := a.settings(cmd, file, dev, nil)
			if err != nil {
				return badSettings(exitFound, err)
			}
			from := "No file: the defaults and the environment"
			if settings.File != "" {
				from = settings.File
			}
			a.note("%s: fine.", from)
			return nil
		},
	}.command()
	configFlags(cmd, &file, &dev)
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
line, default), the flag and variables that set it, and what it means.`,
		example: `
certwright config explain listen.https
certwright config explain ledger.lock -o json`,
		next: "certwright config validate",
		args: exactly("a KEY such as listen.https"),
		run: func(cmd *cobra.Command, args []string) error {
			settings, err := a.settings(cmd, file, dev, nil)
			if err != nil {
				return badSettings(exitUsage, err)
			}
			explained, err := settings.Explain(args[0])
			if err != nil {
				return failf(exitNotFound, "%w; certwright config show lists all", err)
			}
			return a.printExplained(true, explained)
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
	return a.print(all[0], r)
}
