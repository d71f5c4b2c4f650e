package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progressEvery is how often a line tells of progress where there is no terminal.
const progressEvery = 10 * time.Second

// progress tells how far something is: a bar on a terminal, else a line now and
// then.
type progress struct {
	out      io.Writer
	terminal bool
	what     string
	now      func() time.Time
	last     time.Time
	shown    bool
}

func (a *app) progress(what string) *progress {
	p := &progress{out: a.err, terminal: a.errIsTerminal() && a.getenv("TERM") != "dumb", what: what, now: time.Now}
	p.last = p.now()
	return p
}

func (p *progress) show(done, total uint64) {
	if total == 0 {
		return
	}
	now := p.now()
	if !p.terminal {
		if now.Sub(p.last) >= progressEvery {
			p.last = now
			_, _ = fmt.Fprintf(p.out, "%s: %d of %d\n", p.what, done, total)
		}
		return
	}
	if now.Sub(p.last) < 50*time.Millisecond && done < total {
		return
	}
	p.last, p.shown = now, true
	const width = 30
	full := int(min(done, total) * width / total)
	_, _ = fmt.Fprintf(p.out, "\r%s [%s%s] %d/%d", p.what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, total)
}

// end takes the bar away.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
