package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/certwright/certwright/problem"
)

// TestUnread: what cannot be read is told in words, with its place, in short.
func TestUnread(t *testing.T) {
	for text, want := range map[string]string{
		"text =":       "it ends where a value, or a condition, is missing",
		"text = ":      "it ends where a value, or a condition, is missing",
		`text = "a`:    "the text that begins at column 8 has no closing quote",
		"(text = a":    "a ) is missing at column 10",
		"= a":          `"=" is not expected at column 1`,
		"text == a":    `"=" is not expected at column 7`,
		"text = a)":    `")" is not expected at column 9`,
		"text = a AND": "what stands after column 9 is no condition",
	} {
		_, err := Compile(text, testFields())
		var p *problem.Problem
		if !errors.As(err, &p) || p.Detail != "the filter cannot be read: "+want || p.Reason != "FILTER_INVALID" || len(err.Error()) > 200 {
			t.Errorf("%s: %v", text, err)
		}
		if p != nil && strings.Contains(p.Error(), "the fields") {
			t.Errorf("%s: the fields are no matter: %v", text, err)
		}
	}
}
