package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/plainfile"
)

// FileName is the configuration's name inside a data folder.
const FileName = "certwright.yaml"

// Sources are where settings come from: a flag wins over the environment, that
// over the file, that over the default.
type Sources struct {
	// File is the configuration file. Empty: CERTWRIGHT_CONFIG, else FileName in
	// the data folder, which need not exist.
	File string
	// Flags are the flags that were given, by the setting's key.
	Flags map[string]string
	// FlagNames are the names of flags that are not those of their settings, by the
	// setting's key, for messages.
	FlagNames map[string]string
	// Environ is the environment as of os.Environ; only CERTWRIGHT_* counts.
	Environ []string
	// Dev is the --dev flag.
	Dev bool
	// IsDev tells whether a data folder was made by --dev. It is asked if Dev is
	// not set; nil: none was.
	IsDev func(data string) bool
}

// flagName is how the flag of a setting is called.
func (src *Sources) flagName(each setting) string {
	if name := src.FlagNames[each.key]; name != "" {
		return name
	}
	return each.flag
}

// Settings are the configuration with the source of each value.
type Settings struct {
	Config Config
	// File is the file that was read; empty if there was none.
	File string
	// Warnings are CERTWRIGHT_* variables that are no setting.
	Warnings []string
	sources  map[string]string // key → where its value comes from; absent: default
}

// clientVariables are the variables that the command line reads itself.
var clientVariables = []string{
	"CERTWRIGHT_CONFIG", "CERTWRIGHT_DEV", "CERTWRIGHT_SERVER", "CERTWRIGHT_TOKEN", "CERTWRIGHT_TOKEN_FILE",
	"CERTWRIGHT_CA", "CERTWRIGHT_CA_FILE", "CERTWRIGHT_FINGERPRINT", "CERTWRIGHT_OUTPUT",
}

// Load reads the file, puts environment and flags above it and validates the
// result. The error joins all problems, one line each; the settings come with it
// as far as they can be told, nil if there is nothing to tell.
func Load(src Sources) (*Settings, error) {
	s := &Settings{Config: Default(), sources: map[string]string{}}
	s.Config.Dev = src.Dev
	env, err := s.environment(src.Environ)
	if err != nil {
		return nil, err
	}
	var problems []error
	if err := s.loadFile(src, env); err != nil {
		if s.File == "" {
			return nil, err
		}
		problems = append(problems, err)
	}
	faulty := len(problems) > 0
	for _, each := range settings() {
		if v, ok := env.values[each.key]; ok {
			if err := each.set(&s.Config, v.text); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", v.source, err))
			}
			s.sources[each.key] = v.source
		}
		if text, ok := src.Flags[each.key]; ok {
			if err := each.set(&s.Config, text); err != nil {
				problems = append(problems, fmt.Errorf("--%s: %w", src.flagName(each), err))
			}
			s.sources[each.key] = "flag --" + src.flagName(each)
		}
	}
	if !src.Dev && src.IsDev != nil {
		s.Config.Dev = src.IsDev(s.Config.Data)
	}
	s.Config.complete()
	if !faulty { // what the faults have left out would be faults again
		problems = append(problems, s.Validate())
	}
	return s, errors.Join(problems...)
}

// complete fills in what depends on other settings.
func (c *Config) complete() {
	if c.Ledger.Lock == "" {
		// The folder is one for all CAs beside each other, and each has its file in it.
		name := filepath.Base(c.Data)
		if full, err := filepath.Abs(c.Data); err == nil {
			name = filepath.Base(full)
		}
		c.Ledger.Lock = filepath.Join("..", "certwright-lock", name)
		if c.Dev {
			c.Ledger.Lock = "lock"
		}
	}
}

type variable struct{ text, source string }

type environ struct {
	config string
	values map[string]variable
}

// prefix begins the name of every variable, and says nothing of which is meant.
const prefix = "CERTWRIGHT_"

// environment reads the CERTWRIGHT_* variables.
func (s *Settings) environment(all []string) (environ, error) {
	env := environ{values: map[string]variable{}}
	byName := map[string]setting{}
	var names []string
	for _, each := range settings() {
		for _, name := range each.env() {
			byName[name] = each
			names = append(names, name[len(prefix):])
		}
	}
	for _, line := range all {
		name, text, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		each, known := byName[name]
		switch {
		case name == "CERTWRIGHT_CONFIG":
			env.config = text
		case !known && !slices.Contains(clientVariables, name):
			s.Warnings = append(s.Warnings, fmt.Sprintf("environment variable %s is not a setting%s", name, asHint(prefix, nearestOf(name[len(prefix):], names))))
		case known:
			if other, twice := env.values[each.key]; twice && other.text != text {
				return env, fmt.Errorf("%s and environment variable %s disagree: set one of them", other.source, name)
			}
			env.values[each.key] = variable{text, "environment variable " + name}
		}
	}
	return env, nil
}

// loadFile finds, reads and applies the file.
func (s *Settings) loadFile(src Sources, env environ) error {
	file := src.File
	if file == "" {
		file = env.config
	}
	inData := file == ""
	if inData {
		dir := s.Config.Data
		if v, ok := env.values["data"]; ok {
			dir = v.text
		}
		if flag, ok := src.Flags["data"]; ok {
			dir = flag
		}
		file = filepath.Join(dir, FileName)
	}
	data, err := plainfile.Read(file, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && inData:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &fs.PathError{Op: "configuration file", Path: file, Err: fs.ErrNotExist}
	case err != nil:
		return fmt.Errorf("configuration file: %w", err)
	}
	s.File = file
	return s.apply(data, inData)
}
