package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// plainEnvironment takes away what would steer the program from outside.
func plainEnvironment(env *testscript.Env) error {
	var kept []string
	for _, pair := range env.Vars {
		if !strings.HasPrefix(pair, "CERTWRIGHT_") {
			kept = append(kept, pair)
		}
	}
	env.Vars = kept
	return nil
}

// scriptCommands are what the transcripts can say besides testscript's own words:
//
//	exits CODE certwright ARGS...   runs it and wants this exit code; sets stdout and stderr
//	plain FILE...                   wants no escape byte in the files (stdout, stderr)
//	mode FILE PERM                  wants the permissions of a file
//	until COMMAND ARGS...           runs it until it succeeds, for 30 s
//	tamper FILE OLD NEW             replaces a text by one of the same length
func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"exits": exits,
		"plain": func(ts *testscript.TestScript, _ bool, args []string) {
			for _, file := range args {
				if strings.Contains(ts.ReadFile(file), "\x1b") {
					ts.Fatalf("%s has an escape byte", file)
				}
			}
		},
		"mode":   mode,
		"until":  until30s,
		"tamper": tamper,
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// until runs a command again and again until it succeeds.
func until30s(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%v", err)
		case <-tick.C:
		}
	}
}

// tamper replaces a text in a file, everywhere, by one of the same length.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	before, err := os.ReadFile(file)
	ts.Check(err)
	after := bytes.ReplaceAll(before, []byte(args[1]), []byte(args[2]))
	if bytes.Equal(before, after) || len(before) != len(after) {
		ts.Fatalf("nothing to change in %s", file)
	}
	ts.Check(os.WriteFile(file, after, 0o600))
}
