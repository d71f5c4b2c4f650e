package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func testApp() (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	return &app{in: strings.NewReader(""), out: &out, err: &err, getenv: func(string) string { return "" }}, &out, &err
}

// walk calls each for every command that does something.
func walk(cmd *cobra.Command, each func(*cobra.Command)) {
	if !cmd.HasSubCommands() || cmd.HasExample() {
		each(cmd)
	}
	for _, sub := range cmd.Commands() {
		walk(sub, each)
	}
}

// TestHelp holds the help texts to their rules: a long text, two examples or more
// whose commands and flags exist, and -o wherever something is listed or shown.
func TestHelp(t *testing.T) {
	a, _, _ := testApp()
	leaves := 0
	walk(newRoot(a), func(cmd *cobra.Command) {
		leaves++
		path := cmd.CommandPath()
		if len(cmd.Long) < len(cmd.Short) || cmd.Short == "" {
			t.Errorf("%s has no long text", path)
		}
		examples := 0
		for _, line := range strings.Split(cmd.Example, "\n") {
			examples += strings.Count(line, "certwright ")
			checkExample(t, cmd, line)
		}
		if examples < 2 {
			t.Errorf("%s has %d examples, want 2 or more", path, examples)
		}
		switch cmd.Name() {
		case "list", "show", "history", "status", "proof", "inspect", "verify", "expiring", "simulate", "test", "explain", "version":
			if cmd.Flags().Lookup("output") == nil {
				t.Errorf("%s has no -o", path)
			}
		}
		if next := cmd.Annotations[annotationNext]; next == "" && cmd.Name() != "completion" {
			t.Errorf("%s does not name the next command", path)
		}
	})
	if leaves < 30 {
		t.Errorf("only %d commands", leaves)
	}
}

// checkExample parses the example's flags by the command they are for.
func checkExample(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	at := strings.Index(line, cmd.CommandPath()+" ")
	if at < 0 {
		if !strings.HasSuffix(strings.TrimSpace(line), cmd.CommandPath()) {
			t.Errorf("the example %q does not show %s", line, cmd.CommandPath())
		}
		return
	}
	for _, word := range strings.Fields(line[at:]) {
		if word == "|" || word == ">" {
			return
		}
		if name, ok := strings.CutPrefix(word, "--"); ok && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
			t.Errorf("the example %q has an unknown flag --%s", line, name)
		}
	}
}

// TestFlagsAreExplained also finds flags that would take a secret on the command
// line.
func TestFlagsAreExplained(t *testing.T) {
	a, _, _ := testApp()
	walk(newRoot(a), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no text", cmd.CommandPath(), f.Name)
			}
			switch f.Name {
			case "token", "passphrase", "password", "secret", "pin":
				t.Errorf("%s --%s takes a secret on the command line", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func TestNearest(t *testing.T) {
	known := []string{"cert", "config", "issuer", "ledger", "policy", "profile", "token"}
	for word, want := range map[string]string{
		"crt": "cert", "cret": "cert", "certs": "cert", "polcy": "policy", "legder": "ledger", "tokens": "token", "pro": "profile",
		"zebra": "", "": "", "x": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
