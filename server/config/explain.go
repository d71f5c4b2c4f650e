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
		return Explanation{}, fmt.Errorf("%.64s: unknown key%s", key, didYouMean(key, known))
	}
	return s.explain(known[i]), nil
}

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
	return render(func(b *strings.Builder, indent string, each setting, name string) {
		if each.key == "data" {
			fmt.Fprintf(b, "# %s: %s\n", name, each.text(&s.Config))
			return
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, each.text(&s.Config))
	})
}

// File is a new configuration file: every setting with its manual, commented out
// where it has its default, set where set has a value for it.
func File(set map[string]string) string {
	standard := Default()
	text := render(func(b *strings.Builder, indent string, each setting, name string) {
		if each.key == "data" {
			return
		}
		for line := range strings.SplitSeq(manual(each.key), "\n") {
			fmt.Fprintf(b, "%s# %s\n", indent, line)
		}
		if text, ok := set[each.key]; ok {
			c := Default()
			if each.set(&c, text) == nil {
				fmt.Fprintf(b, "%s%s: %s\n", indent, name, each.text(&c))
				return
			}
		}
		fmt.Fprintf(b, "%s#%s: %s\n", indent, name, each.text(&standard))
	})
	return "# Certwright's configuration. A value that is commented out is the default. CERTWRIGHT_* and\n" +
		"# flags stand above this file: \"certwright config explain KEY\" tells what holds and why.\n\n" + text
}

// render writes the sections of the settings and each setting by line.
func render(line func(b *strings.Builder, indent string, each setting, name string)) string {
	var b strings.Builder
	section := ""
	for _, each := range settings() {
		in, name, nested := strings.Cut(each.key, ".")
		indent := "  "
		if !nested {
			in, name, indent = "", each.key, ""
		}
		if in != section && in != "" {
			fmt.Fprintf(&b, "%s:\n", in)
		}
		section = in
		line(&b, indent, each, name)
	}
	return b.String()
}
