package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/policy"
)

// tested is one case in the JSON of policy test.
type tested struct {
	Name        string   `json:"name"`
	Passed      bool     `json:"passed"`
	Differences []string `json:"differences"`
}

func policyTestCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "test FILE [flags]", short: "Run cases with expected verdicts against a policy",
		long: `
Runs the cases of a YAML file against a policy and compares each verdict with the
expected one; exits with 8 if one differs. The policy is the file of --policy,
else the server's active one. A case:

  - name: a team may have its own names
    principal: {local_socket: admin}
    profile: server
    names: {dns: [svc.internal]}
    key: ecdsa-p256
    labels: {purpose: web}
    expect: allow              # or deny, with reasons: [NAME_NOT_ALLOWED]`,
		example: `
certwright policy test cases.yaml
certwright policy test cases.yaml --policy policy.yaml -o json`,
		next: "certwright policy apply FILE",
		args: exactly("a FILE with cases"),
		run: func(cmd *cobra.Command, args []string) error {
			engine, err := a.engineFor(cmd, file)
			if err != nil {
				return err
			}
			data, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			cases, err := policy.ParseCases(args[0], data)
			if err != nil {
				return findings(args[0], err)
			}
			if len(cases) == 0 {
				return failf(exitFound, "%s holds no case, so it tests nothing; certwright policy test --help shows one", args[0])
			}
			return a.printTested(engine.Test(cases, time.Now()))
		},
	}.command()
	cmd.Flags().StringVar(&file, "policy", "", "policy file (default: the server's active policy)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("policy", "yaml", "yml")
	cmd.ValidArgsFunction = nil
	return cmd
}

// engineFor compiles the file, or the active policy of the server.
func (a *app) engineFor(cmd *cobra.Command, file string) (*policy.Engine, error) {
	if file != "" {
		return a.compile(file)
	}
	version, err := a.policyVersion(cmd.Context(), "")
	if err != nil {
		return nil, err
	}
	return policy.New(policy.Config{File: "active policy", Data: []byte(version.GetDocument()), WithoutIssuers: true})
}

func (a *app) printTested(results []policy.CaseResult) error {
	r := rows{columns: columnsOf("case", "expected", "result", "difference")}
	all := []tested{}
	failed := 0
	for _, result := range results {
		t := tested{Name: result.Case.Name, Passed: len(result.Differences) == 0, Differences: append([]string{}, result.Differences...)}
		state := "ok"
		if !t.Passed {
			state = "failed"
			failed++
		}
		all = append(all, t)
		r.add(t.Name, t.Name, result.Case.Expect, state, strings.Join(t.Differences, "; "))
	}
	if err := a.print(map[string]any{"cases": all}, r); err != nil {
		return err
	}
	if failed > 0 {
		return failf(exitFound, "%s", fmt.Sprintf("%d of %s not as expected; correct the policy or the cases", failed, counted(len(results), "case")))
	}
	return nil
}
