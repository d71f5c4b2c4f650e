package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/policy"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFileIsStrict(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "polcy: p.yaml", ":1: polcy: unknown key \"polcy\"; did you mean \"policy\"?"},
		{"unknown nested key", "log:\n  lvel: info", ":2: log.lvel: unknown key \"lvel\"; did you mean \"level\"?"},
		{"unknown section", "listn: {https: x}", ":1: listn: unknown key \"listn\"; did you mean \"listen\"?"},
		{"nothing near", "zzzzzzzzzzzz: 1", ":1: zzzzzzzzzzzz: unknown key \"zzzzzzzzzzzz\"; known here: "},
		{"dotted key", "log.level: debug", ":1: log.level: unknown key"},
		{"twice", "policy: a\npolicy: b", ":2: policy:"},
		{"a list for a value", "policy: [a]", ":1: policy: this is a list, not a text"},
		{"a value for a list", "server_names: a", ":1: server_names: this is a text, not a list"},
		{"a list of lists", "server_names: [[a]]", "server_names[0]: this is a list"},
		{"a value for a section", "log: debug", ":1: log: this is a text, not a mapping"},
		{"no value", "policy:", ":1: policy: this is nothing"},
		{"no number", "limits: {queue: many}", ":1: limits.queue: this is a text, not a whole number"},
		{"no duration", "ledger: {checkpoint_interval: 5}", ":1: ledger.checkpoint_interval:"},
		{"an alias", "log: &a {level: info}\nlimits: *a", "aliases"},
		{"a merge key", "<<: {policy: x}", "a key is a plain text"},
		{"two documents", "policy: a\n---\npolicy: b", "a second document"},
		{"no YAML", "a: [", ":1: "},
		{"a list on top", "- a", ":1: this is a list, not a mapping"},
		{"a number as a key", "1: a", "unknown key"},
		{"data in the file of the data folder", "data: /x", "set data by --data"},
		{"address", "listen: {https: localhost}", ":1: listen.https: \"localhost\" is not host:port"},
		{"port", "listen: {https: \"localhost:99999\"}", "is not host:port"},
		{"a port twice", "listen: {https: \"127.0.0.1:1\", metrics: \"127.0.0.1:1\"}", "listen.metrics: 127.0.0.1:1 has the port of listen.https"},
		{"a port everywhere", "listen: {http: \"0.0.0.0:8444\"}", "listen.http: 0.0.0.0:8444 has the port of listen.grpc"},
		{"base", "base_url: {http: \"https://x\"}", "is not a URL such as http://"},
		{"base with slash", "base_url: {http: \"http://x/\"}", "ends with a slash"},
		{"names", "server_names: [a b]", "server_names"},
		{"no names", "server_names: []", "at least one name"},
		{"storage", "storage: postgres://x", "is not bolt:FILE"},
		{"origin", "ledger: {origin: a b}", "ledger.origin"},
		{"origin of an epoch", "ledger: {origin: ca.internal/epoch-2}", "ends like an epoch's name"},
		{"lock inside", "ledger: {lock: lock}", "lies in the data folder"},
		{"two passphrases", "keys: {passphrase_file: a, credential: b}", "only one of the two"},
		{"range", "crl: {shards: 0}", "0 is not between 1 and 1024"},
		{"places", "limits: {calls: 3}", "3 is not between 4 and 65536"},
		{"choice", "log: {level: loud}", "\"loud\" is not one of debug, info, warn, error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.text)
			_, err := Load(Sources{Flags: map[string]string{"data": filepath.Dir(file)}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q in it", err, test.want)
			}
			if !strings.Contains(err.Error(), file) {
				t.Errorf("error %q does not name the file", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(Sources{File: write(t, "polcy: x\nlog:\n  levl: x\n  format: [1]\n")})
	for _, want := range []string{":1: polcy", ":3: log.levl", ":4: log.format"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "listen:\n  https: 127.0.0.1:1\n  grpc: 127.0.0.1:2\n  http: 127.0.0.1:3\ndata: here\n")
	s, err := Load(Sources{
		File:    file,
		Environ: []string{"CERTWRIGHT_LISTEN_GRPC=127.0.0.1:20", "CERTWRIGHT_HTTPS=127.0.0.1:10", "CERTWRIGHT_SERVER_NAMES=a.internal, b.internal", "HOME=/"},
		Flags:   map[string]string{"listen.https": "127.0.0.1:100"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]string{
		"listen.https":               {`"127.0.0.1:100"`, "flag --https"},
		"listen.grpc":                {`"127.0.0.1:20"`, "environment variable CERTWRIGHT_LISTEN_GRPC"},
		"listen.http":                {`"127.0.0.1:3"`, file + ":4"},
		"listen.metrics":             {`"127.0.0.1:9090"`, "default"},
		"server_names":               {"[a.internal, b.internal]", "environment variable CERTWRIGHT_SERVER_NAMES"},
		"ledger.checkpoint_interval": {"1s", "default"},
	} {
		e, err := s.Explain(key)
		if err != nil || e.Value != want[0] || e.Source != want[1] || e.Manual == "" {
			t.Errorf("%s: %+v, %v; want %q", key, e, err, want)
		}
	}
	if want := filepath.Join(filepath.Dir(file), "here"); s.Config.Data != want {
		t.Errorf("data %s, want %s", s.Config.Data, want)
	}
	if _, err := s.Explain("listen.htps"); err == nil || !strings.Contains(err.Error(), "did you mean listen.https?") {
		t.Errorf("explain of an unknown key: %v", err)
	}
}

// TestFaultySettings: what can be told of a faulty configuration is told.
func TestFaultySettings(t *testing.T) {
	s, err := Load(Sources{
		File: write(t, "polcy: x\nlog: {level: debug, format: [1]}\n"), Flags: map[string]string{"keys.credential": "a/b", "server_names": "a"},
		FlagNames: map[string]string{"keys.credential": "credential"},
	})
	if err == nil || s == nil {
		t.Fatalf("%v, %v", s, err)
	}
	for key, want := range map[string]string{"log.level": "debug", "listen.https": "\"127.0.0.1:8443\"", "keys.credential": "a/b"} {
		if e, err := s.Explain(key); err != nil || e.Value != want {
			t.Errorf("%s: %+v, %v", key, e, err)
		}
	}
	if _, err = Load(Sources{Flags: map[string]string{"keys.credential": "a/b"}, FlagNames: map[string]string{"keys.credential": "credential"}}); err == nil ||
		!strings.HasPrefix(err.Error(), "flag --credential: keys.credential: ") {
		t.Errorf("a flag of another name: %v", err)
	}
	if g := s.Group("listen"); len(g) != 5 || s.Group("liste") != nil || s.Group("policy") != nil {
		t.Errorf("groups %v", g)
	}
}

func TestEnvironment(t *testing.T) {
	_, err := Load(Sources{Environ: []string{"CERTWRIGHT_HTTPS=127.0.0.1:1", "CERTWRIGHT_LISTEN_HTTPS=127.0.0.1:2"}})
	if err == nil || !strings.Contains(err.Error(), "disagree") {
		t.Errorf("two variables of one key: %v", err)
	}
	s, err := Load(Sources{Environ: []string{"CERTWRIGHT_LISTEN_HTPS=x", "CERTWRIGHT_TOKEN=secret"}})
	if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "CERTWRIGHT_LISTEN_HTTPS?") {
		t.Errorf("warnings %q, %v", s.Warnings, err)
	}
	if _, err := Load(Sources{Environ: []string{"CERTWRIGHT_LIMITS_QUEUE=x"}}); err == nil || !strings.Contains(err.Error(), "CERTWRIGHT_LIMITS_QUEUE") {
		t.Errorf("a bad variable: %v", err)
	}
	if _, err := Load(Sources{File: "/nowhere/at/all"}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestFileRoundTrip: the file that a new data folder gets, and what "config show"
// prints, are files that give the same configuration.
func TestFileRoundTrip(t *testing.T) {
	c := Default()
	c.ServerNames, c.Log.Format = []string{"ca.internal", "10.0.0.1"}, "json"
	first, err := Load(Sources{File: write(t, File(c))})
	if err != nil {
		t.Fatal(err)
	}
	if first.Config.Log.Format != "json" || !slices.Equal(first.Config.ServerNames, []string{"ca.internal", "10.0.0.1"}) {
		t.Errorf("%+v", first.Config)
	}
	first.Config.Ledger.CheckpointInterval = policy.Duration(5 * time.Second)
	again, err := Load(Sources{File: write(t, first.YAML())})
	if err != nil {
		t.Fatalf("%v\n%s", err, first.YAML())
	}
	if again.YAML() != first.YAML() {
		t.Errorf("%s\nbecame\n%s", first.YAML(), again.YAML())
	}
}

func TestLock(t *testing.T) {
	for dev, want := range map[bool]string{true: "lock", false: "../certwright-lock/ca"} {
		s, err := Load(Sources{IsDev: func(data string) bool { return data == "x/ca" && dev }, Flags: map[string]string{"data": "x/ca"}})
		if err != nil || s.Config.Ledger.Lock != want {
			t.Errorf("dev %t: %v, %v", dev, s.Config.Ledger.Lock, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "# nothing", "policy: a", "listen: {https: x, grpc: y}", "log:\n  level: debug\n", "a: &a [*a]", "<<: x", "- 1",
		"server_names: [a, b]", "? {a: b}\n: c", "policy: !!binary aGk=", "log: ~", "\xff", "a: |\n  x", File(Default()),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Settings{Config: Default(), sources: map[string]string{}, File: "f"}
		if s.apply(data, false) != nil || s.Validate() != nil {
			return
		}
		text := s.YAML()
		again := &Settings{Config: Default(), sources: map[string]string{}, File: "f"}
		if err := again.apply([]byte(text), false); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		again.Config.Data = s.Config.Data
		if other := again.YAML(); other != text {
			t.Fatalf("%s\nbecame\n%s", text, other)
		}
	})
}
