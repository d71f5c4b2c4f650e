package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 << 20

// assignment is one key of the file with what stands there.
type assignment struct {
	setting setting
	node    *yaml.Node
}

// parseFile reads the YAML document data, named file in errors. Everything that
// is not a known key with one value is an error; all of them are reported, each
// with its line.
func parseFile(file string, data []byte) ([]assignment, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document", file)
	}
	r := reader{file: file, known: settings()}
	if len(document.Content) == 1 {
		r.mapping(document.Content[0], "")
	}
	return r.found, errors.Join(r.problems...)
}

// reader walks the document and gathers what it finds.
type reader struct {
	file     string
	known    []setting
	found    []assignment
	problems []error
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.file, n.Line, fmt.Sprintf(format, args...)))
}

// mapping reads the keys below prefix, which is empty or ends with a dot.
func (r *reader) mapping(n *yaml.Node, prefix string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // a section whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		r.problem(n, "%s: a mapping of keys to values is expected", sectionName(prefix))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := prefix + name.Value
		if name.Kind != yaml.ScalarNode || name.Tag != "!!str" {
			r.problem(name, "%s: keys are words", sectionName(prefix))
			continue
		}
		if line, twice := seen[key]; twice {
			r.problem(name, "%s: stands in line %d already", key, line)
			continue
		}
		seen[key] = name.Line
		r.entry(name, value, key)
	}
}

func (r *reader) entry(name, value *yaml.Node, key string) {
	if value.Kind == yaml.AliasNode {
		r.problem(value, "%s: aliases are not supported", key)
		return
	}
	isSection := func(s setting) bool { return strings.HasPrefix(s.key, key+".") }
	if slices.ContainsFunc(r.known, isSection) && !strings.Contains(name.Value, ".") {
		r.mapping(value, key+".")
		return
	}
	i := slices.IndexFunc(r.known, func(s setting) bool { return s.key == key })
	if i < 0 || strings.Contains(name.Value, ".") {
		r.problem(name, "%s: unknown key%s", key, didYouMean(key, r.known))
		return
	}
	r.found = append(r.found, assignment{r.known[i], value})
}

func sectionName(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

// assign sets the value in c.
func (a assignment) assign(c *Config) error {
	if a.setting.value(c).Kind() == reflect.Slice {
		return a.assignList(c)
	}
	if a.node.Kind != yaml.ScalarNode || a.node.Tag == "!!null" {
		return fmt.Errorf("%s: one value is expected", a.setting.key)
	}
	return a.setting.set(c, a.node.Value)
}

func (a assignment) assignList(c *Config) error {
	if a.node.Kind != yaml.SequenceNode {
		return fmt.Errorf("%s: a list is expected, such as [a, b]", a.setting.key)
	}
	list := []string{}
	for _, item := range a.node.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return fmt.Errorf("%s: line %d is not a single value", a.setting.key, item.Line)
		}
		list = append(list, item.Value)
	}
	a.setting.value(c).Set(reflect.ValueOf(list))
	return nil
}

// didYouMean names the known key that is nearest, or says nothing if none is
// near.
func didYouMean(key string, known []setting) string {
	best, distance := "", len(key)/2+1
	for _, s := range known {
		for candidate := s.key; ; {
			if d := editDistance(key, candidate); d < distance {
				best, distance = candidate, d
			}
			i := strings.LastIndexByte(candidate, '.')
			if i < 0 {
				break
			}
			candidate = candidate[:i] // sections are keys too
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
