package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this program as the command certwright.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"certwright": main})
}

// TestScript runs the transcripts of testdata/script that need no server.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               plainEnvironment,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands(),
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
