package filter

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/problem"
)

func operators(t Type) []string {
	switch t {
	case Text:
		return []string{"=", "!=", ":"}
	case Texts:
		return []string{":", "=", "!="}
	case Time:
		return []string{"<", "<=", ">", ">=", "=", "!=", ":"}
	case Bool:
		return []string{"=", "!="}
	case Number:
		return []string{"=", "!=", "<", "<=", ">", ">="}
	}
	return nil
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.64q is not a time like 2027-01-01T00:00:00Z or 2027-01-01", text)
}

// matcher is the comparison as a function of rows. A row that answers another
// type than the field's has no value there.
func matcher(f Field, c Condition) (func(Row) bool, error) {
	switch f.Type {
	case Texts:
		return matchTexts(f, c), nil
	case Time:
		return matchTime(f, c), nil
	case Bool:
		want, err := strconv.ParseBool(strings.ToLower(c.Text))
		if err != nil {
			return nil, &problem.Problem{
				Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter",
				Detail: fmt.Sprintf("%s: %.32q is not true or false", f.Name, c.Text),
			}
		}
		return func(r Row) bool {
			v, _ := r(f.Name).(bool)
			return (v == want) == (c.Operator == "=")
		}, nil
	case Number:
		want, err := strconv.ParseUint(c.Text, 10, 64)
		if err != nil {
			return nil, &problem.Problem{
				Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter",
				Detail: fmt.Sprintf("%s: %.32q is not a whole number", f.Name, c.Text),
			}
		}
		return func(r Row) bool {
			v, ok := r(f.Name).(uint64)
			return ok && ordered(c.Operator, cmp.Compare(v, want))
		}, nil
	}
	if c.Operator == ":" {
		has := pattern(c.Text, strings.Contains)
		return func(r Row) bool { v, _ := r(f.Name).(string); return has(v) }, nil
	}
	return func(r Row) bool {
		v, _ := r(f.Name).(string)
		return (v == c.Text) == (c.Operator == "=")
	}, nil
}

func matchTexts(f Field, c Condition) func(Row) bool {
	if c.Operator != ":" {
		return func(r Row) bool {
			list, _ := r(f.Name).([]string)
			return slices.Contains(list, c.Text) == (c.Operator == "=")
		}
	}
	has := pattern(c.Text, func(v, text string) bool { return v == text })
	return func(r Row) bool {
		list, _ := r(f.Name).([]string)
		return slices.ContainsFunc(list, has)
	}
}

func matchTime(f Field, c Condition) func(Row) bool {
	return func(r Row) bool {
		v, _ := r(f.Name).(time.Time)
		switch {
		case v.IsZero():
			return c.Operator == "!="
		case c.Operator == ":":
			return true
		}
		return ordered(c.Operator, v.Compare(c.Time))
	}
}

func ordered(operator string, compared int) bool {
	switch operator {
	case "=":
		return compared == 0
	case "!=":
		return compared != 0
	case "<":
		return compared < 0
	case "<=":
		return compared <= 0
	case ">":
		return compared > 0
	}
	return compared >= 0
}

// pattern is the has-value: "*" anything that is there, "*x" and "x*" by end and
// beginning, anything else as whole decides. It ignores case.
func pattern(text string, whole func(v, text string) bool) func(string) bool {
	text = strings.ToLower(text)
	switch {
	case text == "*":
		return func(v string) bool { return v != "" }
	case strings.HasPrefix(text, "*") && strings.HasSuffix(text, "*"):
		return func(v string) bool { return strings.Contains(strings.ToLower(v), text[1:len(text)-1]) }
	case strings.HasPrefix(text, "*"):
		return func(v string) bool { return strings.HasSuffix(strings.ToLower(v), text[1:]) }
	case strings.HasSuffix(text, "*"):
		return func(v string) bool { return strings.HasPrefix(strings.ToLower(v), text[:len(text)-1]) }
	}
	return func(v string) bool { return whole(strings.ToLower(v), text) }
}
