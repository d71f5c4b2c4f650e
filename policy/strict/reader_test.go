package strict

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/problem"
)

// span has a text form of its own.
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

type inner struct {
	Text string `json:"text"`
	Size int    `json:"size"`
}

func (i *inner) SetDefaults() { i.Size = 7 }

type outer struct {
	Name    string            `json:"name"`
	Yes     bool              `json:"yes"`
	Big     int64             `json:"big"`
	Share   float64           `json:"share"`
	Span    span              `json:"span"`
	Inner   inner             `json:"inner"`
	List    []inner           `json:"list"`
	Texts   map[string]string `json:"texts"`
	Free    map[string]any    `json:"free"`
	Hidden  string
	Ignored string `json:"-"`
}

func TestRead(t *testing.T) {
	var got outer
	r := Read("f", []byte(`
name: "n"
yes: true
big: 0x10
share: 1
span: 90s
inner: {text: t}
list:
  - text: a
    size: 1
  - {}
texts: {a: b, "1": c}
free: {s: t, i: 1, f: 1.5, b: true, n: null, l: [1, [x]], m: {k: v}}
`), 1000, &got)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := outer{Name: "n", Yes: true, Big: 16, Share: 1, Span: span(90 * time.Second), Inner: inner{Text: "t", Size: 7},
		List: []inner{{"a", 1}, {"", 7}}, Texts: map[string]string{"a": "b", "1": "c"},
		Free: map[string]any{"s": "t", "i": int64(1), "f": 1.5, "b": true, "n": nil, "l": []any{int64(1), []any{"x"}}, "m": map[string]any{"k": "v"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadFaults(t *testing.T) {
	tests := []struct{ text, want string }{
		{"nam: x", "UNKNOWN_KEY f:1: nam"},
		{"Hidden: x", "UNKNOWN_KEY f:1: Hidden"},
		{"name: 1", "WRONG_TYPE f:1: name"},
		{"name: 2026-01-01", "WRONG_TYPE f:1: name"},
		{"name: ~", "WRONG_TYPE f:1: name"},
		{"yes: 'true'", "WRONG_TYPE f:1: yes"},
		{"yes: yes", "WRONG_TYPE f:1: yes"},
		{"big: 1.5", "WRONG_TYPE f:1: big"},
		{"big: 99999999999999999999", "WRONG_TYPE f:1: big"},
		{"share: x", "WRONG_TYPE f:1: share"},
		{"span: x", "INVALID_VALUE f:1: span"},
		{"span: [1s]", "WRONG_TYPE f:1: span"},
		{"inner: [a]", "WRONG_TYPE f:1: inner"},
		{"list: {a: b}", "WRONG_TYPE f:1: list"},
		{"list:\n- text: a\n- [b]", "WRONG_TYPE f:3: list[1]"},
		{"texts: {a: 1}", "WRONG_TYPE f:1: texts.a"},
		{"texts: {a: b, a: c}", "DUPLICATE_KEY f:1: texts.a"},
		{"free: {a: 2026-01-01}", "WRONG_TYPE f:1: free.a"},
		{"free: {a: &x 1, b: *x}", "ALIAS f:1: free.a"},
		{"free: {a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "ALIAS f:1: free.a" + strings.Repeat("[0]", 33)},
		{"inner:\n  text: a\n  sise: 1", "UNKNOWN_KEY f:3: inner.sise"},
		{"\"a\\e\": 1", `UNKNOWN_KEY f:1: "a\x1b"`},
	}
	for _, test := range tests {
		var into outer
		err := Read("f", []byte(test.text), 1000, &into).Err()
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Malformed {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if got := p.Violations[0].Reason + " " + p.Violations[0].Rule; got != test.want {
			t.Errorf("%q: %s, want %s", test.text, got, test.want)
		}
	}
}

func TestFault(t *testing.T) {
	var into outer
	r := Read("f", []byte("name: n\ninner:\n  txt: a\nlist: x\n"), 1000, &into)
	r.Fault("inner.text", Fault{Detail: "missing"})  // misspelt: told already
	r.Fault("list[0].size", Fault{Detail: "wrong"})  // not read: told already
	r.Fault("inner.size", Fault{Detail: "too much"}) // not there: the line of inner
	var p *problem.Problem
	if !errors.As(r.Err(), &p) || len(p.Violations) != 3 || p.Violations[1].Rule != "f:3: inner.size" || !r.Odd("inner") || r.Odd("") {
		t.Errorf("%v", r.Err())
	}
	many := Read("f", []byte(strings.Repeat("- x\n", 200)), 1000, &[]inner{})
	if !errors.As(many.Err(), &p) || len(p.Violations) != maxFaults {
		t.Errorf("%d faults are told", len(p.Violations))
	}
}

func TestNearest(t *testing.T) {
	known := []string{"validity", "ext_key_usage", "key_usage", "owner", "owners", "dns"}
	for word, want := range map[string]string{"validty": "validity", "extKeyUsage": "ext_key_usage", "key-usage": "key_usage", "Owner": "owner",
		"onwer": "owner", "dsn": "dns", "x": "", "": "", "something": "", strings.Repeat("a", 100): ""} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q is nearest to %q, want %q", word, got, want)
		}
	}
}
