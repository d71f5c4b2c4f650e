package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

func outputFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVarP(into, "output", "o", "text", "text, or json: one object for each look")
}

// output writes findings and results to standard output.
type output struct {
	*app
	json     bool
	findings []book.Finding
	notices  []book.Notice
	told     time.Time
}

func newOutput(a *app, format string) (*output, error) {
	if format != "text" && format != "json" {
		return nil, usagef("-o %.32q is neither text nor json", format)
	}
	return &output{app: a, json: format == "json", told: time.Now()}, nil
}

// finding takes a finding; as text it is written at once.
func (o *output) finding(f book.Finding) {
	o.findings = append(o.findings, f)
	if !o.json {
		_, _ = fmt.Fprintln(o.out, printable(f.String()))
	}
}

// notice takes a notice; as text it is written at once.
func (o *output) notice(n book.Notice) {
	o.notices = append(o.notices, n)
	if !o.json {
		_, _ = fmt.Fprintln(o.out, printable("notice "+n.String()))
	}
}

// progressEvery is how often a line tells of progress.
const progressEvery = 10 * time.Second

func (o *output) progress(done, total uint64) {
	if now := time.Now(); now.Sub(o.told) >= progressEvery {
		o.told = now
		o.note("entries read: %d of %d", done, total)
	}
}

// look is a result as JSON.
type look struct {
	Time     time.Time      `json:"time"`
	Source   string         `json:"source"`
	Origin   string         `json:"origin"`
	Entries  uint64         `json:"entries"`
	Root     string         `json:"root"`
	Epoch    uint64         `json:"epoch"`
	Findings []book.Finding `json:"findings"`
	Notices  []book.Notice  `json:"notices"`
	Error    string         `json:"error,omitempty"`
}

// looked ends a look.
func (o *output) looked(source string, f *book.Follower, err error) {
	cp := f.Checkpoint()
	o.result(look{
		Time: time.Now().UTC(), Source: source, Origin: cp.Origin, Entries: cp.Size, Root: fmt.Sprintf("%x", cp.Root), Epoch: f.Epoch(),
	}, err)
}

func (o *output) result(l look, err error) {
	l.Findings, l.Notices = o.findings, o.notices
	o.findings, o.notices = nil, nil
	if l.Findings == nil {
		l.Findings = []book.Finding{}
	}
	if l.Notices == nil {
		l.Notices = []book.Notice{}
	}
	switch {
	case o.json:
		if err != nil {
			l.Error = err.Error()
		}
		line, _ := json.Marshal(l)
		_, _ = fmt.Fprintln(o.out, string(line))
	case err == nil && len(l.Findings) == 0:
		_, _ = fmt.Fprintln(o.out, printable(fmt.Sprintf("ok: %s, %d entries, root %s", l.Origin, l.Entries, l.Root)))
	}
}
