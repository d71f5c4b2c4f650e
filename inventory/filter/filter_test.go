package filter

import (
	"strings"
	"testing"
	"time"
)

func testFields() []Field {
	return []Field{
		{Name: "text", Type: Text},
		{Name: "kind", Type: Text, Values: []string{"ONE", "TWO"}},
		{Name: "list", Type: Texts},
		{Name: "time", Type: Time},
		{Name: "flag", Type: Bool},
		{Name: "number", Type: Number},
		{Name: "labels", Type: Map},
	}
}

func testRow(field string) any {
	switch field {
	case "text":
		return "Some Text"
	case "kind":
		return "ONE"
	case "list":
		return []string{"a.internal", "*.b.internal"}
	case "time":
		return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	case "flag":
		return true
	case "number":
		return uint64(7)
	case "labels.team":
		return "x"
	}
	return nil
}

func TestMatch(t *testing.T) {
	for text, want := range map[string]bool{
		``:                          true,
		`text = "Some Text"`:        true,
		`text = "some text"`:        false,
		`text != "x"`:               true,
		`text:"me te"`:              true,
		`text:"some*"`:              true,
		`text:"*some"`:              false,
		`text:"*e T*"`:              true,
		`text:*`:                    true,
		`kind = one`:                true,
		`kind != TWO`:               true,
		`list:"a.internal"`:         true,
		`list:"internal"`:           false,
		`list:"*.internal"`:         true,
		`list:"*.c"`:                false,
		`list = "*.b.internal"`:     true,
		`list != "a.internal"`:      false,
		`time = "2026-06-01"`:       true,
		`time > "2026-06-01"`:       false,
		`time >= "2026-06-01"`:      true,
		`flag`:                      true,
		`NOT flag`:                  false,
		`-flag`:                     false,
		`flag = FALSE`:              false,
		`number > 6 AND number < 8`: true,
		`number = 8 OR flag`:        true,
		`labels.team = x`:           true,
		`labels.other = x`:          false,
		`labels.other:*`:            false,
	} {
		f, err := Compile(text, testFields())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.Match(testRow); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestConditions(t *testing.T) {
	f, err := Compile(`text = a AND (kind = ONE OR flag) AND NOT number = 1 AND list:"b"`, testFields())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, c := range f.Conditions() {
		got += c.Field + c.Operator + c.Text + " "
	}
	if got != "text=a list:b " {
		t.Errorf("%q", got)
	}
}

func TestPageToken(t *testing.T) {
	token := PageToken([]byte("place"), "list", "filter")
	if got, err := ParsePageToken(token, "list", "filter"); err != nil || string(got) != "place" {
		t.Errorf("%q, %v", got, err)
	}
	for _, other := range [][]string{{"list", "other"}, {"listfilter", ""}, {"list"}, {"lis", "tfilter"}} {
		if _, err := ParsePageToken(token, other...); err == nil {
			t.Errorf("taken for %q", other)
		}
	}
	if PageToken(nil, "x") != "" {
		t.Error("a token for no place")
	}
}

// FuzzCompile: no filter panics, in compiling or matching.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`text = "a" AND time < "2027-01-01T00:00:00Z"`, `NOT (kind = ONE OR flag)`, `list:"*"`, `labels.team:*`, `a.b.c = 1`,
		`-text`, `f(x, y)`, `text = 1.5`, `number = 0xff`, `((((`, `"`, "\xff", `text = "\u0000"`, `text : : text`, `NOT`, `AND`, `list:"**"`,
	} {
		f.Add(seed)
	}
	// The longest filters whose grammar makes a parser go back and forth.
	for _, unit := range []string{"f(", "a ", "a.", "NOT ", "a AND ", "a=-", "a.f() "} {
		f.Add(strings.Repeat(unit, MaxLength/len(unit)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := Compile(text, testFields())
		if err != nil {
			_ = err.Error()
			return
		}
		filter.Match(testRow)
		filter.Match(func(string) any { return nil })
		filter.Conditions()
	})
}

// FuzzPageToken: no token panics, and what is taken is what was given.
func FuzzPageToken(f *testing.F) {
	f.Add(PageToken([]byte("place"), "q"))
	f.Add("")
	f.Add("AAAA\nAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		place, err := ParsePageToken(token, "q")
		if err == nil && PageToken(place, "q") != token {
			t.Errorf("%q stands for %q, whose token is %q", token, place, PageToken(place, "q"))
		}
	})
}
