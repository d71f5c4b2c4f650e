package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

func policyCheckCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "check FILE [flags]", short: "Check a policy file, without a server",
		long: `
Reads and compiles a policy file (- is standard input): unknown keys, wrong
values, names that are not defined, conditions that do not compile. Every fault
comes with file, line and key; exits with 8 if there is one. Principals that
nobody can be in this version are warned of. No server is asked: what depends on
its issuers (their end, their name constraints) and on its own certificate is
checked by policy apply.`,
		example: `
certwright policy check certwright-data/policy.yaml
certwright policy show | certwright policy check -
certwright policy check policy.yaml -o json`,
		next: "certwright policy apply FILE",
		args: exactly("a FILE with a policy"),
		run: func(_ *cobra.Command, args []string) error {
			engine, err := a.compile(args[0])
			if err != nil {
				return a.judged(args[0], nil, err)
			}
			for _, warning := range engine.Warnings() {
				a.note("warning: %s.", warning)
			}
			a.note("%s is a policy: %s, %s, %s.", args[0], counted(len(engine.Document().Profiles), "profile"),
				counted(len(engine.Document().Grants), "grant"), counted(len(engine.Document().Conditions), "condition"))
			return a.judged(args[0], engine.Warnings(), nil)
		},
	}.command()
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

// compile makes an engine of a file; its faults are findings of a check.
func (a *app) compile(file string) (*policy.Engine, error) {
	data, err := a.readPolicy(file)
	if err != nil {
		return nil, err
	}
	engine, err := policy.New(policy.Config{File: file, Data: data, WithoutIssuers: true})
	if err != nil {
		return nil, findings(file, err)
	}
	return engine, nil
}

// readPolicy reads a policy file. One that is too large is found here: the server
// would not know its name.
func (a *app) readPolicy(file string) ([]byte, error) {
	data, err := a.readInput(file)
	if err == nil && len(data) > policy.MaxSize {
		err = failf(exitFound, "%s has %d bytes: a policy has at most %d KiB", file, len(data), policy.MaxSize>>10)
	}
	return data, err
}

// findings words the faults of a file as the failure of a check: one line that
// says how many, then one line each.
func findings(file string, err error) error {
	f := failf(exitFound, "%s has faults; each line below says where", file)
	f.err = err
	var p *problem.Problem
	switch {
	case errors.As(err, &p) && len(p.Violations) > 0:
		for _, v := range p.Violations {
			f.detail = append(f.detail, faultLine(v))
		}
	case errors.As(err, &p) && p.Detail != "":
		f.detail = strings.Split(p.Detail, "\n")
	default:
		f.detail = strings.Split(err.Error(), "\n")
	}
	if len(f.detail) == 1 {
		f.text, f.detail = f.detail[0], nil
	}
	return f
}

// faultLine is "where: what; what to do" of a fault whose rule is its place.
func faultLine(v problem.Violation) string {
	line := v.Detail
	if v.Rule != "" && !strings.Contains(line, v.Rule) {
		line = v.Rule + ": " + line
	}
	if v.Help != "" && !strings.Contains(line, v.Help) {
		line += "; " + v.Help
	}
	return line
}
