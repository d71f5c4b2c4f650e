//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/agent"
	"github.com/certwright/certwright/agent/config"
)

func agentStatusCommand(a *app) *cobra.Command {
	file, state := defaultAgentFile, ""
	cmd := leaf{
		use: "status [flags]", short: "Show how the agent's certificates stand",
		long: `
Shows each certificate of the agent: its state, when it expires, when the next
attempt is and what failed last, as status.json in the state folder has it. It asks
neither the agent nor a server.

  valid        it is there, and nothing has failed since
  failing      it is there, and its renewal fails
  hook_failed  it is there, and the hook fails
  expired      it is over; the agent goes on trying
  missing      there is none yet

Exits with 8 if one is not valid, or if the agent has read its file again and does not
use it because of its faults: it goes on as before, and a restart would fail.`,
		example: `
certwright agent status
certwright agent status --config agent.yaml -o json
certwright agent status --state /var/lib/certwright-agent -o wide`,
		next: "certwright agent obtain --config FILE NAME",
		args: exactly(),
		run: func(_ *cobra.Command, _ []string) error {
			if state != "" {
				return a.agentStatus(state, nil)
			}
			c, err := config.Load(file)
			if err == nil {
				return a.agentStatus(c.State, nil)
			}
			// The agent that runs has a file that had no faults.
			if state, bad := config.StateOf(file); bad == nil {
				if running, unknown := agent.Running(state); running || unknown != nil {
					return a.agentStatus(state, err)
				}
			}
			return badSettings(exitUsage, err)
		},
	}.command()
	agentConfigFlag(cmd, &file)
	cmd.Flags().StringVar(&state, "state", "", "the state folder, instead of the file that names it")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

// agentStatus shows how the agent with this state folder stands; fault is what is wrong
// with its file.
func (a *app) agentStatus(state string, fault error) error {
	now := time.Now()
	s, err := agent.ReadStatus(state, now)
	if err != nil && fault != nil { // what is known
		return badSettings(exitUsage, fault)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitNotFound, "no agent has run with the state folder %s; start one with: certwright agent run --config FILE", state)
	}
	if err != nil {
		return err
	}
	running, unknown := agent.Running(state)
	r := rows{columns: columnsOf("name", "state", "not after", "next attempt", "failures", "+serial", "+folder", "+names", "last error")}
	var bad []string
	for _, c := range s.Certificates {
		after := timeCell(c.NotAfter)
		if after != "" && a.format == "table" {
			after += " (" + until(c.NotAfter, now) + ")"
		}
		what := c.LastError
		if what == "" {
			what = c.HookError
		}
		r.add(c.Name, c.Name, c.State, after, timeCell(c.NextAttempt), fmt.Sprint(c.Failures), c.Serial, c.Folder, strings.Join(c.Names, ", "), what)
		if c.State != agent.Valid {
			bad = append(bad, c.Name)
		}
	}
	doc := struct {
		*agent.Status
		Running *bool `json:"running"` // null: it cannot be told
	}{Status: s}
	if unknown == nil {
		doc.Running = &running
	}
	if err := a.print(doc, r); err != nil {
		return err
	}
	switch {
	case unknown != nil:
		a.note("Whether the agent runs cannot be told: %v. This is how it was at %s.", unknown, timeCell(s.Updated))
	case !running:
		a.note("The agent does not run: this is how it was at %s.", timeCell(s.Updated))
	}
	return standing(s, bad, running, unknown != nil, fault)
}

// standing is an error with what is not as it should be. Of an agent that may have ended,
// what it refused is told as its last word, and today's fault first.
func standing(s *agent.Status, bad []string, running, unknown bool, fault error) error {
	var found []string
	if len(bad) > 0 {
		found = append(found, counted(len(bad), "certificate")+" not valid: "+strings.Join(bad, ", "))
	}
	switch {
	case s.Refusal != "" && running:
		found = append(found, fmt.Sprintf("the agent's file is not used, since %s: %s", timeCell(s.RefusedSince), s.Refusal))
	case fault != nil:
		found = append(found, "the agent's file has faults, with which it would not start: "+strings.ReplaceAll(fault.Error(), "\n", "; "))
	case s.Refusal != "" && unknown:
		found = append(found, fmt.Sprintf("the agent's file was not used at %s, since %s: %s", timeCell(s.Updated), timeCell(s.RefusedSince), s.Refusal))
	}
	if len(found) > 0 {
		return failf(exitFound, "%s", strings.Join(found, "; "))
	}
	return nil
}
