package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/certwright/certwright/policy/strict"
)

// setting is one key of the configuration: where it lives in Config and how it
// is called elsewhere.
type setting struct {
	key   string // "listen.https"
	flag  string // "https"; empty: it has none
	index []int  // for reflect's FieldByIndex
}

// env are the names of the setting's environment variables: that of the key,
// and that of the flag if it has one.
func (s setting) env() []string {
	names := []string{envName(s.key)}
	if s.flag != "" && envName(s.flag) != names[0] {
		names = append(names, envName(s.flag))
	}
	return names
}

func envName(key string) string {
	return "CERTWRIGHT_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// settings lists all keys in the order of Config's fields.
func settings() []setting {
	return settingsOf(reflect.TypeFor[Config](), "", nil)
}

func settingsOf(t reflect.Type, prefix string, index []int) []setting {
	var all []setting
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("json")
		if name == "-" {
			continue
		}
		at := append(append([]int(nil), index...), i)
		if field.Type.Kind() == reflect.Struct {
			all = append(all, settingsOf(field.Type, prefix+name+".", at)...)
			continue
		}
		all = append(all, setting{key: prefix + name, flag: field.Tag.Get("flag"), index: at})
	}
	return all
}

// Keys lists every key, in the order of the manual.
func (s *Settings) Keys() []string {
	var keys []string
	for _, each := range settings() {
		keys = append(keys, each.key)
	}
	return keys
}

func (s setting) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// set gives the setting a value from text. In text a list is separated by
// commas.
func (s setting) set(c *Config, text string) error {
	v := s.value(c)
	if into, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := into.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		return nil
	}
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s: %.64q is not a whole number", s.key, text)
		}
		v.SetInt(int64(n))
	case bool:
		yes, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%s: %.64q is neither true nor false", s.key, text)
		}
		v.SetBool(yes)
	case []string:
		var list []string
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		v.Set(reflect.ValueOf(list))
	default:
		if s.element() == nil {
			return fmt.Errorf("%s: a setting of type %s cannot be set", s.key, v.Type())
		}
		return s.setList(v, text)
	}
	return nil
}

// element is the type of the list's mappings; nil: the setting is no list of
// mappings.
func (s setting) element() reflect.Type {
	t := reflect.TypeFor[Config]().FieldByIndex(s.index).Type
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	return t.Elem()
}

// setList reads a list of mappings, in YAML of one line as text writes it.
func (s setting) setList(v reflect.Value, text string) error {
	into := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "List", Type: v.Type(), Tag: `json:"list"`}}))
	if err := strict.Read("value", []byte("list: "+text), maxFile, into.Interface()).Err(); err != nil {
		return fmt.Errorf("%s: %w", s.key, lines(err))
	}
	v.Set(into.Elem().Field(0))
	return nil
}

// text is the setting's value in YAML.
func (s setting) text(c *Config) string {
	switch v := s.value(c).Interface().(type) {
	case string:
		return quote(v)
	case []string:
		quoted := make([]string, len(v))
		for i, each := range v {
			quoted[i] = quote(each)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		if s.element() == nil {
			return fmt.Sprint(v)
		}
		if s.value(c).Len() == 0 {
			return "[]"
		}
		out, err := json.Marshal(v) // which is YAML, on one line
		if err != nil {
			panic(err) // texts, numbers and lists of them
		}
		return string(out)
	}
}

// quote is the text as a YAML scalar, plain where plain means the same text.
func quote(text string) string {
	plain := strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == ""
	switch {
	case text == "", !plain, strings.HasSuffix(text, ":"), strings.HasPrefix(text, "-"), strings.HasPrefix(text, ":"):
		return strconv.QuoteToASCII(text)
	case strings.Trim(text, "0123456789.-:_xoeEbBnN+") == "": // would read as a number or a time
		return strconv.Quote(text)
	}
	switch strings.ToLower(text) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return strconv.Quote(text)
	}
	return text
}
