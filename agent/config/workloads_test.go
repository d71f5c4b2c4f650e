package config

import (
	"os"
	"regexp"
	"testing"
)

// TestWorkloads reads the agent's files of docs/workloads.md.
func TestWorkloads(t *testing.T) {
	page, err := os.ReadFile("../../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("(?s)```yaml agent\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(files) < 3 {
		t.Fatalf("%d files on the page", len(files))
	}
	for _, file := range files {
		if _, err := Parse("/etc/certwright/agent.yaml", []byte(file[1])); err != nil {
			t.Errorf("%v\n%s", err, file[1])
		}
	}
}
