// Package strict reads YAML that people write: no key is unknown, doubled or
// of another type than the field it fills, and every fault is found at once,
// with its line, the path of its key and the nearest known key. Anchors,
// aliases, merge keys, tags and a second document are refused: nothing in a file
// stands for anything but itself, and nothing can grow.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/certwright/certwright/problem"
)

// maxFaults is how many faults are told; a file with more is garbage.
const maxFaults = 50

// Reader is what was read of a file: the places of its keys and its faults.
type Reader struct {
	file   string
	lines  map[string]int  // key path → line
	broken map[string]bool // values that could not be read
	odd    map[string]bool // mappings with an unknown key
	faults []fault
}

type fault struct {
	line      int
	violation problem.Violation
}

// Fault is one thing that is wrong in a file. All but Detail may be empty.
type Fault struct {
	Reason  string // code; empty: INVALID_VALUE
	Value   string
	Allowed string
	Help    string
	Detail  string
}

// Read decodes data, of at most limit octets, into the struct or slice that into
// points to. Keys are the names of json tags. Fields may be strings, bools,
// ints, floats, types with UnmarshalText, slices, maps with string keys, any, and
// structs of these. A struct with a method SetDefaults has it called first.
// What can be read is read, whatever the faults; see Err.
func Read(file string, data []byte, limit int, into any) *Reader {
	r := &Reader{file: file, lines: map[string]int{}, broken: map[string]bool{}, odd: map[string]bool{}}
	if len(data) > limit {
		r.broken[""] = true
		r.at(0, "", Fault{Reason: "TOO_LARGE", Value: strconv.Itoa(len(data)) + " octets",
			Allowed: strconv.Itoa(limit) + " octets", Detail: "the file is too large"})
		return r
	}
	root, err := parse(data)
	if err != nil {
		r.broken[""] = true
		line, detail := syntax(err)
		r.at(line, "", Fault{Reason: "SYNTAX", Detail: detail})
		return r
	}
	target := reflect.ValueOf(into).Elem()
	if root == nil {
		setDefaults(target)
		return r
	}
	r.value(root, "", target)
	return r
}

// parse is the root node of the only document; nil for an empty file.
func parse(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("yaml: line %d: a second document begins: a file holds one", second.Line)
	}
	if len(first.Content) != 1 {
		return nil, nil
	}
	return first.Content[0], nil
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// syntax takes the line out of an error of the YAML parser.
func syntax(err error) (int, string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := lineOf.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return line, text[len(m[0]):]
	}
	return 0, text
}

// Fault notes a fault found in the value at the path, unless the value could
// not be read at all.
func (r *Reader) Fault(path string, f Fault) {
	line := 0
	for p := path; ; p = parent(p) {
		if r.broken[p] {
			return
		}
		if line == 0 {
			line = r.lines[p]
		}
		if p == "" {
			break
		}
	}
	r.at(line, path, f)
}

// Odd tells whether the mapping at the path has an unknown key: what seems to be
// missing in it may only be misspelt.
func (r *Reader) Odd(path string) bool { return r.odd[path] }

func (r *Reader) at(line int, path string, f Fault) {
	if f.Reason == "" {
		f.Reason = "INVALID_VALUE"
	}
	rule := r.file
	if line > 0 {
		rule += ":" + strconv.Itoa(line)
	}
	if path != "" {
		rule += ": " + path
	}
	r.faults = append(r.faults, fault{line: line, violation: problem.Violation{
		Reason: f.Reason, Rule: rule, Value: f.Value, Allowed: f.Allowed, Help: f.Help, Detail: f.Detail,
	}})
}

// Err is nil if there is no fault, else a *problem.Problem of kind Malformed with
// one violation per fault in the order of lines. The Rule of each is
// "file:line: key path".
func (r *Reader) Err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b fault) int { return a.line - b.line })
	p := &problem.Problem{Kind: problem.Malformed, Reason: "INVALID_FILE"}
	p.Detail = fmt.Sprintf("%s has %d faults", r.file, len(r.faults))
	if len(r.faults) == 1 {
		p.Detail = r.file + " has a fault"
	}
	for _, f := range r.faults[:min(len(r.faults), maxFaults)] {
		p.Violations = append(p.Violations, f.violation)
	}
	return p
}

// parent is the path without its last key or index.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}
