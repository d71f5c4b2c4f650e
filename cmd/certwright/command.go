package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// leaf is what every command that does something is made of. Example holds at
// least two lines that run as they stand; next is what one would type afterwards.
type leaf struct {
	use, short, long, example, next string
	args                            cobra.PositionalArgs
	run                             func(cmd *cobra.Command, args []string) error
}

const annotationNext = "next"

func (l leaf) command() *cobra.Command {
	lines := strings.Split(strings.TrimSpace(l.example), "\n")
	for i, line := range lines {
		lines[i] = "  " + strings.TrimSpace(line)
	}
	cmd := &cobra.Command{
		Use: l.use, Short: l.short, Long: strings.TrimSpace(l.long), Example: strings.Join(lines, "\n"),
		Args: l.args, RunE: l.run, DisableFlagsInUseLine: true, ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().SortFlags = false
	if l.next != "" {
		cmd.Annotations = map[string]string{annotationNext: l.next}
	}
	return cmd
}

// labelFlag gives a command a repeatable flag KEY=VALUE.
func labelFlag(cmd *cobra.Command, into *map[string]string, name, usage string) {
	cmd.Flags().Var(&labels{into}, name, usage)
}

// labels is a flag that collects KEY=VALUE, each key once.
type labels struct{ into *map[string]string }

func (l *labels) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("write KEY=VALUE")
	}
	if *l.into == nil {
		*l.into = map[string]string{}
	}
	if old, twice := (*l.into)[key]; twice {
		return fmt.Errorf("the label %s has the value %q already", key, old)
	}
	(*l.into)[key] = value
	return nil
}

func (l *labels) Type() string   { return "KEY=VALUE" }
func (l *labels) String() string { return "" }

// group is a noun with its verbs.
func group(use, short, long string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(long), Args: knownVerb, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error { return helpFor(cmd, args[min(1, len(args)):]) },
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// helpCommand is "certwright help COMMAND".
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Help about a command", DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error { return helpFor(cmd.Root(), args) },
	}
}

// helpFor shows the help of the command that the words name below cmd.
func helpFor(cmd *cobra.Command, words []string) error {
	for _, word := range words {
		at := slices.IndexFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word || sub.HasAlias(word) })
		switch {
		case at >= 0:
			cmd = cmd.Commands()[at]
			continue
		case cmd.HasSubCommands():
			return knownVerb(cmd, []string{word})
		}
		break // what follows are arguments of a command
	}
	cmd.InitDefaultHelpFlag()
	return cmd.Help()
}

// knownVerb refuses what is no sub-command, with the nearest one.
func knownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "help" {
		return nil
	}
	hint := ""
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := nearest(args[0], names); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near)
	}
	return usagef("unknown command %q for %q; %s%s --help lists them", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
}

// exactly wants these arguments, no more and no less.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s needs %s; see %s --help", cmd.CommandPath(), names[len(args)], cmd.CommandPath())
		}
		if len(args) > len(names) {
			return usagef("%s does not take %q; see %s --help", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// atMost wants one argument or none.
func atMost(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("%s takes one %s, and %q is a second; see %s --help", cmd.CommandPath(), name, args[1], cmd.CommandPath())
		}
		return nil
	}
}

// atLeastOne wants one argument or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs %s; see %s --help", cmd.CommandPath(), name, cmd.CommandPath())
		}
		return nil
	}
}

// nearest is the known word closest to word, or "" if none is close.
func nearest(word string, known []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := edits(word, k)
		if len(word) >= 2 && strings.HasPrefix(k, word) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits is how many letters must be added, left out, changed or swapped with their
// neighbour to make b of a.
func edits(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last = last, row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+1)
			if a[i-1] == b[j-1] {
				row[j] = last[j-1]
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
