package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm asks on standard error and reads the answer from standard input. What is
// not a yes is exitConflict.
func (a *app) confirm(ctx context.Context, question string) error {
	answer, err := a.answer(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return failf(exitConflict, "nothing was changed, as you said")
}

// confirmTyped asks for a word to be typed, for what is hard to take back. What is
// not the word is exitConflict.
func (a *app) confirmTyped(ctx context.Context, question, word string) error {
	answer, err := a.answer(ctx, fmt.Sprintf("%s Type %s to go on: ", question, quote(word)))
	if err != nil {
		return err
	}
	if answer != word {
		return failf(exitConflict, "that was not %s, so nothing was changed", quote(word))
	}
	return nil
}

// answer is the line that answers a question, without the space around it. No line
// at all is exitConflict. An interruption ends it at once: the reading is left behind.
func (a *app) answer(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(a.err, question)
	var line string
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		line, err = bufio.NewReader(a.in).ReadString('\n')
	}()
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.err)
		return "", failf(exitFailure, "interrupted, so nothing was changed")
	case <-read:
	}
	if err != nil && line == "" {
		_, _ = fmt.Fprintln(a.err)
		return "", failf(exitConflict, "nobody answered the question, so nothing was changed; give --yes in a script")
	}
	return strings.TrimSpace(line), nil
}
