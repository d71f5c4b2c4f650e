package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/certwright/certwright/problem"
)

// placed is a message of the parser with its place.
var placed = regexp.MustCompile(`^(.*) \((\d{1,6}):(\d{1,6})\)$`)

// unread refuses a filter that the parser cannot read.
func unread(text string, err error) error {
	// The parser's errors draw one picture for each rule on the way: the innermost is last.
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	why := fmt.Sprintf("%.200s", strings.TrimLeft(lines[len(lines)-1], " ^"))
	if m := placed.FindStringSubmatch(why); m != nil {
		why = inWords(text, m[1], m[2], m[3])
	}
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter",
		Detail: strings.ToValidUTF8("the filter cannot be read: "+why, "\uFFFD"),
		Help:   `Write it as in: owner = "team-a" AND not_after < "2027-01-01T00:00:00Z".`,
	}
}

// inWords is a message of the parser in words for a person.
func inWords(text, message, line, column string) string {
	at := "column " + column
	if line != "1" {
		at = "line " + line + ", " + at
	}
	token := strings.TrimPrefix(strings.TrimPrefix(message, "unexpected "), "trailing ")
	token, isToken := strings.CutPrefix(token, "token ")
	switch n, _ := strconv.Atoi(column); {
	case message == "parse token" && (line != "1" || n > len([]rune(strings.TrimRight(text, " ")))):
		return "it ends where a value, or a condition, is missing"
	case message == "unterminated string":
		return "the text that begins at " + at + " has no closing quote"
	case message == "expected )":
		return "a ) is missing at " + at
	case isToken && token == "WS":
		return "what stands after " + at + " is no condition"
	case isToken:
		return fmt.Sprintf("%q is not expected at %s", token, at)
	}
	return message + " at " + at
}
