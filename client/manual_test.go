package client

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestManual holds the Go of docs/workloads.md to the example, line by line.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("there is no Go on the page")
	}
	rest := string(example)
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			_, after, ok := strings.Cut(rest, strings.TrimSpace(line))
			if !ok {
				t.Fatalf("the example does not go on with %q", strings.TrimSpace(line))
			}
			rest = after
		}
	}
}
