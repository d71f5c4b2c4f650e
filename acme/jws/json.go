package jws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxDepth is how deep JSON may nest: no message of ACME needs more than five.
const maxDepth = 16

// fewKeys is how many keys of an object are compared one by one.
const fewKeys = 16

// errNotObject: the text is not exactly one JSON object.
var errNotObject = errors.New("it is not one JSON object")

// CheckObject refuses what is not exactly one JSON object, what nests too deep, and
// objects in which a key stands twice: also if two keys differ in case alone,
// because encoding/json takes them for the same.
func CheckObject(data []byte) error {
	_, err := members(data)
	return err
}

// member is one member of an object, its value as it is written.
type member struct {
	key   string
	value []byte
}

// members are the members of the object that data is, after CheckObject's checks.
// The text is known to be valid JSON before it is walked: every quote begins or
// ends a text, every brace an object.
func members(data []byte) ([]member, error) {
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' || !json.Valid(data) {
		return nil, errNotObject
	}
	var w walk
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '{', '[':
			if len(w.levels) == maxDepth {
				return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
			}
			w.levels = append(w.levels, level{object: c == '{', key: c == '{'})
		case '}', ']':
			w.end(data, i)
			w.levels = w.levels[:len(w.levels)-1]
		case ',':
			w.end(data, i)
			top := &w.levels[len(w.levels)-1]
			top.key = top.object
		case ':':
			w.begin(i + 1)
		case '"':
			end := textEnd(data, i)
			if err := w.text(data[i : end+1]); err != nil {
				return nil, err
			}
			i = end
		}
	}
	return w.members, nil
}

// textEnd is the place of the quote that ends the text that begins at i.
func textEnd(data []byte, i int) int {
	for i++; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i
}

// walk is where members is.
type walk struct {
	levels  []level
	members []member // of the outermost object
	from    int      // where the value of the last of them begins; 0: it has ended
}

// level is one object or list that is open.
type level struct {
	object bool
	key    bool // a key comes next
	few    []string
	many   map[string]bool
}

func (w *walk) begin(at int) {
	if len(w.levels) == 1 {
		w.from = at
	}
}

func (w *walk) end(data []byte, at int) {
	if len(w.levels) == 1 && w.from > 0 {
		w.members[len(w.members)-1].value = bytes.Trim(data[w.from:at], " \t\r\n")
		w.from = 0
	}
}

// text takes a text; if it is a key, it must be a new one.
func (w *walk) text(raw []byte) error {
	top := &w.levels[len(w.levels)-1]
	if !top.key {
		return nil
	}
	top.key = false
	key, err := unquote(raw)
	if err != nil {
		return errNotObject
	}
	if !top.add(strings.ToLower(strings.ToUpper(key))) {
		return fmt.Errorf("the key %.32q stands twice", key)
	}
	if len(w.levels) == 1 {
		w.members = append(w.members, member{key: key})
	}
	return nil
}

// add takes a key; it tells whether it is new.
func (l *level) add(key string) bool {
	if l.many == nil {
		for _, other := range l.few {
			if other == key {
				return false
			}
		}
		if l.few = append(l.few, key); len(l.few) <= fewKeys {
			return true
		}
		l.many = map[string]bool{}
		for _, other := range l.few {
			l.many[other] = true
		}
		return true
	}
	if l.many[key] {
		return false
	}
	l.many[key] = true
	return true
}

// unquote is the text that a JSON text stands for.
func unquote(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", errNotObject
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return strings.ToValidUTF8(string(raw[1:len(raw)-1]), "\ufffd"), nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}
