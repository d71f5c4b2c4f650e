package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A damaged file can lead bbolt in a circle until its stack or the memory is full,
// which no program survives. So the file is read by a child of this program, and
// what kills the child is a finding.
const (
	childCommand = "verify-file"
	// childStack and childHeap are far more than a whole file needs.
	childStack = 64 << 20
	childHeap  = 2 << 30 // and four times the file
	// childGC: what is read lives for a moment only.
	childGC  = 400 // percent
	childLog = 64 << 10
)

// fromChild is one line of what the child writes.
type fromChild struct {
	Done    uint64        `json:"done,omitempty"`
	Total   uint64        `json:"total,omitempty"`
	Result  *checked      `json:"result,omitempty"`
	Failure *childFailure `json:"failure,omitempty"`
}

type childFailure struct {
	Code   int      `json:"code"`
	Text   string   `json:"text"`
	Detail []string `json:"detail,omitempty"`
}

// verifyChildCommand is hidden: ledger verify runs it.
func verifyChildCommand(a *app) *cobra.Command {
	var check fileCheck
	cmd := leaf{
		use: childCommand + " FILE [flags]", short: "Check a ledger file, for ledger verify",
		long: `
Checks the file of a stopped server and writes lines of JSON. certwright ledger
verify runs it, because a damaged file can end the program that reads it.`,
		example: `
certwright ledger verify-file certwright-data/ledger.db
certwright ledger verify-file certwright-data/ledger.db --signatures`,
		next: "certwright ledger verify",
		args: exactly("a FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			debug.SetMaxStack(childStack)
			debug.SetGCPercent(childGC)
			watchHeap(args[0])
			check.file = args[0]
			out := json.NewEncoder(a.out)
			last := time.Time{}
			result, err := a.verifyFile(cmd.Context(), check, func(done, total uint64) {
				if now := time.Now(); now.Sub(last) > 50*time.Millisecond || done == total {
					last = now
					_ = out.Encode(fromChild{Done: done, Total: total}) // nobody reads it any more: the end tells
				}
			})
			if err != nil {
				f := a.explain(err)
				return out.Encode(fromChild{Failure: &childFailure{Code: f.code, Text: f.text, Detail: f.detail}})
			}
			return out.Encode(fromChild{Result: &result})
		},
	}.command()
	cmd.Hidden = true
	check.flags(cmd)
	cmd.Flags().StringVar(&check.checkpoint, "checkpoint", "", "file with a checkpoint that the ledger must contain")
	cmd.Flags().StringVar(&check.key, "key", "", "verifier key of its signer")
	cmd.Flags().BoolVar(&check.scrub, "scrub", false, "check only what the store itself can see")
	cmd.Flags().BoolVar(&check.quick, "quick", false, "check the pages and the checkpoint only")
	return cmd
}

// watchHeap ends the program when it uses more memory than the file can ask for.
func watchHeap(file string) {
	most := uint64(childHeap)
	if info, err := os.Stat(file); err == nil {
		most += 4 * uint64(max(0, info.Size()))
	}
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for range time.Tick(20 * time.Millisecond) {
			if metrics.Read(sample); sample[0].Value.Uint64() > most {
				fmt.Fprintln(os.Stderr, tooMuch)
				os.Exit(exitFailure)
			}
		}
	}()
}

// verifyInChild is verifyFile in another process.
func (a *app) verifyInChild(ctx context.Context, check fileCheck) (checked, error) {
	program, err := os.Executable()
	if err != nil {
		return checked{}, err
	}
	log := &headBuffer{most: childLog}
	args := []string{os.Args[0], "ledger", childCommand}
	if check.signatures {
		args = append(args, "--signatures")
	}
	for _, each := range check.issuers {
		args = append(args, "--issuer="+each)
	}
	if check.checkpoint != "" {
		args = append(args, "--checkpoint="+check.checkpoint, "--key="+check.key)
	}
	if check.quick {
		args = append(args, "--quick")
	}
	if check.scrub {
		args = append(args, "--scrub")
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // this program
	cmd.Args = append(args, "--", check.file)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return checked{}, err
	}
	if err := cmd.Start(); err != nil {
		return checked{}, fmt.Errorf("check the file in another process: %w", err)
	}
	last, readErr := a.listen(out)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return checked{}, ctx.Err()
	case last.Failure != nil:
		_, _ = log.WriteTo(a.err)
		return checked{}, &failure{code: last.Failure.Code, text: last.Failure.Text, detail: last.Failure.Detail}
	case last.Result != nil && err == nil:
		_, _ = log.WriteTo(a.err)
		return *last.Result, nil
	}
	return checked{Findings: []finding{{Kind: "database", Subject: "file", Detail: died(errors.Join(err, readErr), log.String())}}}, nil
}

// listen shows the child's progress until its last line, which it returns.
func (a *app) listen(out io.Reader) (last fromChild, err error) {
	bar := a.progress("entries verified")
	defer bar.end()
	lines := json.NewDecoder(out)
	for {
		var line fromChild
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return last, nil
		} else if err != nil {
			return last, err
		}
		if last = line; line.Total > 0 {
			bar.show(line.Done, line.Total)
		}
	}
}

// tooMuch is what the child says before it ends itself.
const tooMuch = "its pages ask for more memory than the file can need"

// died says how the child ended, and what of the file made it end.
func died(err error, log string) string {
	text := "it cannot be read: the check of its pages did not come to an end"
	if err != nil {
		text += " (" + strings.ReplaceAll(err.Error(), "\n", ", ") + ")"
	}
	for line := range strings.Lines(log) {
		for start, means := range map[string]string{
			tooMuch:                    ": " + tooMuch,
			"runtime: goroutine stack": ": its pages lead in a circle",
			"fatal error: ":            ": its pages lead where nothing is",
			"panic: ":                  ": its pages lead where nothing is",
		} {
			if strings.HasPrefix(line, start) {
				return text + means
			}
		}
	}
	return text
}

// headBuffer keeps the first octets of what is written to it.
type headBuffer struct {
	bytes.Buffer
	most int
}

func (b *headBuffer) Write(p []byte) (int, error) {
	if room := b.most - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
