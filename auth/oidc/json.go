package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The bounds of JSON in a token.
const (
	maxDepth   = 8
	maxMembers = 256 // of all objects and lists of one text together
)

var errJSON = errors.New("it is not one JSON object")

// object reads exactly one JSON object: no key twice, no deeper than maxDepth, no
// more than maxMembers values. Numbers are json.Number.
func object(data []byte) (map[string]any, error) {
	r := reader{decoder: json.NewDecoder(bytes.NewReader(data))}
	r.decoder.UseNumber()
	first, err := r.decoder.Token()
	if err != nil || first != json.Delim('{') {
		return nil, errJSON
	}
	out, err := r.members(1)
	if err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return out, nil
}

type reader struct {
	decoder *json.Decoder
	values  int
}

// members are those of the object whose brace has been read.
func (r *reader) members(depth int) (map[string]any, error) {
	out := map[string]any{}
	for r.decoder.More() {
		key, err := r.decoder.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the key %.32q stands twice", name)
		}
		if out[name], err = r.value(depth); err != nil {
			return nil, err
		}
	}
	if _, err := r.decoder.Token(); err != nil {
		return nil, errJSON
	}
	return out, nil
}

func (r *reader) value(depth int) (any, error) {
	if r.values++; r.values > maxMembers {
		return nil, fmt.Errorf("it has more than %d values", maxMembers)
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, errJSON
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return token, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	if delim == '{' {
		return r.members(depth + 1)
	}
	list := []any{}
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	if _, err := r.decoder.Token(); err != nil {
		return nil, errJSON
	}
	return list, nil
}
