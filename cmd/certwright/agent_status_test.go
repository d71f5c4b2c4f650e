//go:build unix

package main

import (
	"errors"
	"testing"

	"github.com/certwright/certwright/agent"
)

// TestStanding: of what an agent refused and what is wrong now, that is told which counts.
func TestStanding(t *testing.T) {
	fault := errors.New("fault")
	refused := &agent.Status{Refusal: "refusal"}
	for name, test := range map[string]struct {
		status           *agent.Status
		running, unknown bool
		fault            error
		want             string
	}{
		"all is well":                     {&agent.Status{}, true, false, nil, ""},
		"it runs and has refused":         {refused, true, false, fault, "the agent's file is not used, since : refusal"},
		"it has ended":                    {refused, false, false, nil, ""},
		"it has ended, and could not go":  {refused, false, false, fault, "the agent's file has faults, with which it would not start: fault"},
		"it may have ended, with a fault": {refused, false, true, fault, "the agent's file has faults, with which it would not start: fault"},
		"it may have ended":               {refused, false, true, nil, "the agent's file was not used at , since : refusal"},
	} {
		got := ""
		if err := standing(test.status, nil, test.running, test.unknown, test.fault); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
