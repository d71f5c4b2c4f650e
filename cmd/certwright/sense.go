package main

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// nonEmpty refuses flags that were given a value which asks for nothing: an empty
// text, or a time of zero. One that is left out has its default.
func nonEmpty(cmd *cobra.Command) error {
	var bad error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch {
		case bad != nil:
		case f.Value.Type() == "string" && f.Value.String() == "":
			bad = usagef("--%s is empty; give it a value, or leave it out", f.Name)
		case f.Value.Type() == "duration" && f.Value.String() == "":
			bad = usagef("--%s 0 is no time; give it a duration such as 12h or 30d, or leave it out", f.Name)
		}
	})
	return bad
}

// told keeps the error of a write, which nobody asks for where help is printed.
type told struct {
	io.Writer
	err *error
}

// Write implements io.Writer.
func (t *told) Write(text []byte) (int, error) {
	n, err := t.Writer.Write(text)
	if err != nil && *t.err == nil {
		*t.err = err
	}
	return n, err
}

// help shows the help of a command; for a word that is none it says so, so that a
// script with a wrong command does not take the help for success.
func (a *app) help(show func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		words, err := cmd.Flags().GetBool("help")
		if err == nil && words && cmd.HasSubCommands() && !cmd.HasExample() { // what has examples takes arguments of its own
			if a.misnamed = knownVerb(cmd, cmd.Flags().Args()); a.misnamed != nil {
				return
			}
		}
		show(cmd, args)
	}
}
