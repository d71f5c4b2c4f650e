package config

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation is one setting, as "config explain" shows it.
type Explanation struct {
	Key     string
	Value   string   // in YAML
	Source  string   // "default", "FILE:LINE", "environment variable NAME", "flag --NAME"
	Default string   // in YAML
	Flag    string   // without dashes; empty: it has none
	Env     []string // the variables that set it
	Manual  string   // what it means
}

// Explain tells the value of a key, where it comes from and what it means. An
// unknown key is an error that names the nearest.
func (s *Settings) Explain(key string) (Explanation, error) {
	known := settings()
	i := slices.IndexFunc(known, func(each setting) bool { return each.key == key })
	if i < 0 {
		return Explanation{}, fmt.Errorf("%.64s: unknown key%s", key, didYouMean(key, s.Keys()))
	}
	return s.explain(known[i]), nil
}

// Group are the explanations of the keys of a section, such as "listen"; none if
// there is no such section.
func (s *Settings) Group(section string) []Explanation {
	var all []Explanation
	for _, each := range settings() {
		if strings.HasPrefix(each.key, section+".") {
			all = append(all, s.explain(each))
		}
	}
	return all
}

// IsDefault tells whether nothing has set the key.
func (s *Settings) IsDefault(key string) bool { return s.sources[key] == "" }

// Explanations are those of all keys, in the order of the manual.
func (s *Settings) Explanations() []Explanation {
	var all []Explanation
	for _, each := range settings() {
		all = append(all, s.explain(each))
	}
	return all
}

func (s *Settings) explain(each setting) Explanation {
	source := s.sources[each.key]
	if source == "" {
		source = "default"
	}
	standard := Default()
	return Explanation{
		Key: each.key, Value: each.text(&s.Config), Source: source, Default: each.text(&standard),
		Flag: each.flag, Env: each.env(), Manual: manual(each.key),
	}
}

// YAML is the whole configuration as a file that gives the same configuration,
// but for data, which goes by flag.
func (s *Settings) YAML() string {
	return render(func(b *strings.Builder, indent string, each setting, name string) bool {
		if each.key == "data" {
			fmt.Fprintf(b, "# %s: %s\n", name, each.text(&s.Config))
			return true
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, each.text(&s.Config))
		return true
	})
}

// File is a new configuration file for c: every setting with its manual, commented
// out where it has its default. The data folder goes by flag.
func File(c Config) string {
	standard := Default()
	text := render(func(b *strings.Builder, indent string, each setting, name string) bool {
		if each.key == "data" {
			return false
		}
		for line := range strings.SplitSeq(manual(each.key), "\n") {
			fmt.Fprintf(b, "%s# %s\n", indent, line)
		}
		if value := each.text(&c); value != each.text(&standard) {
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, value)
			return true
		}
		fmt.Fprintf(b, "#%s%s: %s\n", indent, name, each.text(&standard))
		return false
	})
	return "# Certwright's configuration. A line that begins with # and no blank is a setting at its default: to\n" +
		"# change it, take its # away, and that of its section. CERTWRIGHT_* and flags stand above this file:\n" +
		"# \"certwright config explain KEY\" tells what holds and where it comes from.\n\n" + text
}

// render writes each setting by line, which tells whether it has set a value, and
// the heads of sections; that of a section without a value is commented out.
func render(line func(b *strings.Builder, indent string, each setting, name string) bool) string {
	var all, part strings.Builder
	section, used := "", false
	flush := func() {
		if section != "" {
			if !used {
				all.WriteByte('#')
			}
			fmt.Fprintf(&all, "%s:\n", section)
		}
		all.WriteString(part.String())
		part.Reset()
		used = false
	}
	for _, each := range settings() {
		in, name, nested := strings.Cut(each.key, ".")
		indent := "  "
		if !nested {
			in, name, indent = "", each.key, ""
		}
		if in != section {
			flush()
			section = in
		}
		used = line(&part, indent, each, name) || used
	}
	flush()
	return all.String()
}
