package jws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how deep JSON may nest: no message of ACME needs more than five.
const maxDepth = 16

// errNotObject: the text is not exactly one JSON object.
var errNotObject = errors.New("it is not one JSON object")

// CheckObject refuses what is not exactly one JSON object, what nests too deep, and
// objects in which a key stands twice: also if two keys differ in case alone,
// because encoding/json takes them for the same.
func CheckObject(data []byte) error {
	if !json.Valid(data) {
		return errNotObject
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	first, err := d.Token()
	if err != nil || first != json.Delim('{') {
		return errNotObject
	}
	if err := checkMembers(d, 1); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errNotObject
	}
	return nil
}

// checkMembers reads an object's members and its closing brace.
func checkMembers(d *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return errNotObject
		}
		key, ok := token.(string)
		if !ok {
			return errNotObject
		}
		folded := strings.ToLower(strings.ToUpper(key))
		if seen[folded] {
			return fmt.Errorf("the key %.32q stands twice", key)
		}
		seen[folded] = true
		if err := checkValue(d, depth); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// checkValue reads one value.
func checkValue(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return errNotObject
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	if delim == '{' {
		return checkMembers(d, depth)
	}
	for d.More() {
		if err := checkValue(d, depth); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
