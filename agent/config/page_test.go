package config

import (
	"os"
	"regexp"
	"testing"
)

// TestPage reads the files of docs/agent.md as the agent would.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("(?s)```yaml agent\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(files) != 2 {
		t.Fatalf("%d files on the page", len(files))
	}
	for _, file := range files {
		if _, err := Parse("/etc/certwright/agent.yaml", []byte(file[1])); err != nil {
			t.Errorf("%v\n%s", err, file[1])
		}
	}
}
