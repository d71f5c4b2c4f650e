package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep values of no fixed type may be nested.
const maxDepth = 32

// maxKnown is how many bytes of known keys are told.
const maxKnown = 400

// value reads a node into a target of any kind.
func (r *Reader) value(n *yaml.Node, path string, target reflect.Value) {
	r.lines[path] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.wrong(n, path, Fault{Reason: "ALIAS", Detail: "anchors and aliases are not read: write the value out"})
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		r.wrong(n, path, Fault{Reason: "TAG", Value: n.Tag, Detail: "tags are not read"})
		return
	}
	if text, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		r.text(n, path, text)
		return
	}
	switch target.Kind() {
	case reflect.Struct:
		r.structure(n, path, target)
	case reflect.Map:
		r.mapping(n, path, target)
	case reflect.Slice:
		r.list(n, path, target)
	case reflect.Interface:
		if v, ok := r.free(n, path, 0); ok && v != nil {
			target.Set(reflect.ValueOf(v))
		}
	default:
		r.scalar(n, path, target)
	}
}

func (r *Reader) text(n *yaml.Node, path string, into encoding.TextUnmarshaler) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		r.mismatch(n, path, "a text")
		return
	}
	if err := into.UnmarshalText([]byte(n.Value)); err != nil {
		r.wrong(n, path, Fault{Value: clip(n.Value), Detail: err.Error()})
	}
}

// kinds are what scalar fields are called, with the tag that fits them.
var kinds = map[reflect.Kind]struct{ tag, name string }{
	reflect.String: {"!!str", "a text"}, reflect.Bool: {"!!bool", "true or false"},
	reflect.Int: {"!!int", "a whole number"}, reflect.Int64: {"!!int", "a whole number"},
	reflect.Float64: {"!!float", "a number"},
}

func (r *Reader) scalar(n *yaml.Node, path string, target reflect.Value) {
	kind, ok := kinds[target.Kind()]
	if !ok {
		panic(fmt.Sprintf("strict: field %s has type %s", path, target.Type()))
	}
	tag := n.ShortTag()
	fits := tag == kind.tag || target.Kind() == reflect.Float64 && tag == "!!int"
	if n.Kind != yaml.ScalarNode || !fits {
		r.mismatch(n, path, kind.name)
		return
	}
	if err := n.Decode(target.Addr().Interface()); err != nil {
		r.mismatch(n, path, kind.name)
	}
}

func (r *Reader) structure(n *yaml.Node, path string, target reflect.Value) {
	setDefaults(target)
	fields := map[string]int{}
	var names []string
	for i := range target.NumField() {
		name, _, _ := strings.Cut(target.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = i
		names = append(names, name)
	}
	r.pairs(n, path, func(key, value *yaml.Node) {
		i, known := fields[key.Value]
		if known {
			r.value(value, join(path, key.Value), target.Field(i))
			return
		}
		r.odd[path] = true
		f := Fault{Reason: "UNKNOWN_KEY", Value: clip(key.Value), Detail: fmt.Sprintf("unknown key %q", clip(key.Value)), Help: knownHere(names)}
		if near := Nearest(key.Value, names); near != "" {
			f.Help, f.Allowed = fmt.Sprintf("did you mean %q?", near), strings.Join(names, ", ")
			r.broken[join(path, near)] = true
		}
		r.at(key.Line, join(path, clip(key.Value)), f)
	})
}

// knownHere names the keys that a mapping may have.
func knownHere(names []string) string {
	all := strings.Join(names, ", ")
	if len(all) > maxKnown {
		all = all[:strings.LastIndex(all[:maxKnown], ", ")] + " and others"
	}
	return "known here: " + all
}

func (r *Reader) mapping(n *yaml.Node, path string, target reflect.Value) {
	out := reflect.MakeMap(target.Type())
	r.pairs(n, path, func(key, value *yaml.Node) {
		v := reflect.New(target.Type().Elem()).Elem()
		r.value(value, join(path, key.Value), v)
		out.SetMapIndex(reflect.ValueOf(key.Value).Convert(target.Type().Key()), v)
	})
	target.Set(out)
}

// pairs calls each with the keys and values of a mapping, the first of each key.
func (r *Reader) pairs(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.mismatch(n, path, "a mapping (key: value)")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first, double := seen[key.Value], seen[key.Value] > 0; {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || key.Anchor != "":
			r.at(key.Line, path, Fault{Reason: "KEY", Value: clip(key.Value), Detail: "a key is a plain text"})
		case double:
			r.at(key.Line, join(path, key.Value), Fault{Reason: "DUPLICATE_KEY", Value: clip(key.Value),
				Detail: fmt.Sprintf("key %q stands here again: first in line %d", clip(key.Value), first)})
		default:
			seen[key.Value] = key.Line
			each(key, value)
		}
	}
}

func (r *Reader) list(n *yaml.Node, path string, target reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		r.mismatch(n, path, "a list")
		return
	}
	out := reflect.MakeSlice(target.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		r.value(item, fmt.Sprintf("%s[%d]", path, i), out.Index(i))
	}
	target.Set(out)
}

// free reads a value of no fixed type, as JSON would give it, whole numbers as
// int64.
func (r *Reader) free(n *yaml.Node, path string, depth int) (any, bool) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || depth > maxDepth {
		r.wrong(n, path, Fault{Reason: "ALIAS", Detail: "anchors, aliases, tags and deep nesting are not read"})
		return nil, false
	}
	switch n.Kind {
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			v, ok := r.free(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	case yaml.MappingNode:
		out := map[string]any{}
		good := true
		r.pairs(n, path, func(key, value *yaml.Node) {
			v, ok := r.free(value, join(path, key.Value), depth+1)
			out[key.Value], good = v, good && ok
		})
		return out, good
	}
	if v, ok := plain(n); ok {
		return v, true
	}
	r.mismatch(n, path, "a text, number, true or false")
	return nil, false
}

// plain is a scalar of no fixed type.
func plain(n *yaml.Node) (any, bool) {
	switch n.ShortTag() {
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), true
	case "!!int":
		v, err := strconv.ParseInt(n.Value, 0, 64)
		return v, err == nil
	case "!!float":
		v, err := strconv.ParseFloat(n.Value, 64)
		return v, err == nil
	case "!!null":
		return nil, true
	case "!!str":
		return n.Value, true
	}
	return nil, false
}

// mismatch notes a value of another type than is wanted.
func (r *Reader) mismatch(n *yaml.Node, path, want string) {
	have := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	if have == "" {
		have = map[string]string{"!!str": "a text", "!!bool": "true or false", "!!int": "a whole number",
			"!!float": "a number", "!!null": "nothing", "!!timestamp": "a date"}[n.ShortTag()]
	}
	f := Fault{Reason: "WRONG_TYPE", Value: clip(n.Value), Allowed: want, Detail: fmt.Sprintf("this is %s, not %s", have, want)}
	if want == "a text" && n.Kind == yaml.ScalarNode && n.Value != "" {
		f.Help = "put it in quotes"
	}
	r.wrong(n, path, f)
}

// wrong notes a fault of a value that is thereby not read.
func (r *Reader) wrong(n *yaml.Node, path string, f Fault) {
	r.at(n.Line, path, f)
	r.broken[path] = true
}

func setDefaults(target reflect.Value) {
	if d, ok := target.Addr().Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// clip is a value as it can be shown: short, and quoted if it is not plain text.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:61], "") + "..."
	}
	if strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(s)
	}
	return s
}
