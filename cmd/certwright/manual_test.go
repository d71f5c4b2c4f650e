package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

// TestManual holds the table of commands in docs/cli.md against the tree.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(certwright [a-z -]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		written = append(written, match[1])
	}
	var known []string
	a, _, _ := testApp()
	walk(newRoot(a), func(cmd *cobra.Command) {
		if cmd.IsAvailableCommand() {
			known = append(known, cmd.CommandPath())
		}
	})
	slices.Sort(written)
	slices.Sort(known)
	if !slices.Equal(written, known) {
		t.Errorf("docs/cli.md has %q, the program %q", written, known)
	}
}
