package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/policy"
)

const small = `
server: ca.internal
ca_file: root.crt
auth: {token_file: token}
certificates:
  - name: web
    names: [web.internal]
`

func TestSmall(t *testing.T) {
	c, err := Parse("/etc/certwright/agent.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	web := c.Certificates[0]
	if c.State != "/var/lib/certwright-agent" || c.CAFile != "/etc/certwright/root.crt" || c.TriesPerHour != 6 || c.Log.Level != "info" ||
		web.Folder != "/var/lib/certwright-agent/certificates/web" || web.Auth.TokenFile != "/etc/certwright/token" ||
		web.Key.Type != "ecdsa-p256" || web.Mode != 0o600 || web.PublicMode != 0o600 || web.Files.Fullchain != "fullchain.pem" ||
		web.Files.Combined != "" || web.Hook.Timeout != policy.Duration(30*time.Second) || web.Source != Certwright {
		t.Errorf("%+v", c)
	}
	if c.Find("web") != &c.Certificates[0] || c.Find("db") != nil {
		t.Error("Find")
	}
}

func TestWhole(t *testing.T) {
	c, err := Parse("/etc/a.yaml", []byte(`
state: state
server: https://ca.internal:8444
ca_file: root.crt
auth: {cert_file: device.crt, key_file: device.key}
acme:
  directory: https://ca.internal/acme/directory
  email: ops@internal
  agree_terms: true
  eab_key_id: k
  eab_key_file: eab.key
  webroot: /var/www
metrics: "[::1]:9464"
tries_per_hour: 12
log: {level: debug, format: json}
certificates:
  - name: web
    source: acme
    names: [web.internal, 10.0.0.1]
    mode: 0640
    public_mode: "0644"
    file_group: ssl-cert
    folder: /etc/nginx/tls
    key: {type: rsa-2048, reuse: true}
    hook: {command: [systemctl, reload, nginx], timeout: 1m}
  - name: api
    names: ["spiffe://internal/api"]
    profile: workload
    owner: team-a
    labels: {purpose: api}
    validity: 1h
    files: {key: "", cert: "", chain: "", fullchain: "", combined: all.pem}
    reload: {signal: HUP, pid_file: /run/api.pid}
    auth: {token_command: [fetch, token]}
`))
	if err != nil {
		t.Fatal(err)
	}
	web, api := c.Certificates[0], c.Certificates[1]
	if c.State != "/etc/state" || web.Mode != 0o640 || web.PublicMode != 0o644 || web.Auth.CertFile != "/etc/device.crt" || !web.Key.Reuse ||
		c.ACME.CAFile != "/etc/root.crt" || c.ACME.TrustFile != "/etc/root.crt" || c.ACME.Challenge != "http-01" ||
		!reflect.DeepEqual(api.Auth, Auth{TokenCommand: []string{"fetch", "token"}}) || api.Files != (Files{Combined: "all.pem"}) {
		t.Errorf("%+v", c)
	}
}

// TestFolders: folders whose names begin alike are apart, and the default may be said.
func TestFolders(t *testing.T) {
	_, err := Parse("a.yaml", []byte(strings.Replace(small, "  - name: web", "  - {name: a, names: [x.internal], folder: /x}\n  - {name: b, names: [x.internal], folder: /xy}\n  - name: web\n    folder: /var/lib/certwright-agent/certificates/web", 1)))
	if err != nil {
		t.Error(err)
	}
}

// TestFaults: each fault is told with its line and key.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown key":         {"server:", "servr:", `a.yaml:2: servr: unknown key "servr"; did you mean "server"?`},
		"nothing near":        {"server:", "zzzzzzzz: 1\nserver:", `a.yaml:2: zzzzzzzz: unknown key "zzzzzzzz"; known here: state, server, ca_file, `},
		"no roots":            {"ca_file: root.crt\n", "", "ca_file: without the roots"},
		"no server":           {"server: ca.internal\n", "", "server: there is no server to ask"},
		"plain http":          {"server: ca.internal", "server: http://ca.internal", "a.yaml:2: server: server \"http://ca.internal\""},
		"no certificates":     {"certificates:\n  - name: web\n    names: [web.internal]\n", "", "certificates: there is no certificate to keep"},
		"a bad name":          {"[web.internal]", "[web..internal]", "a.yaml:7: certificates[0].names[0]: "},
		"no names":            {"[web.internal]", "[]", "a.yaml:7: certificates[0].names: so many names"},
		"a path as name":      {"name: web", "name: ../web", "certificates[0].name: it is not a name"},
		"two ways":            {"token_file: token", "token_file: token, token_command: [x]", "auth: there is more than one way"},
		"half a pair":         {"token_file: token", "cert_file: c", "auth.cert_file: cert_file and key_file belong together"},
		"open key":            {"name: web", "name: web\n    mode: 0644", "certificates[0].mode: with these permissions"},
		"a second":            {"name: web", "name: web\n    validity: 1s", "certificates[0].validity: a certificate that is valid for less than a minute"},
		"less than nothing":   {"name: web", "name: web\n    validity: -1h", "certificates[0].validity: "},
		"for ever":            {"name: web", "name: web\n    validity: 60000d", "certificates[0].validity: "},
		"nobody reads":        {"name: web", "name: web\n    mode: 0000", "certificates[0].mode: with these permissions"},
		"no owner reads":      {"name: web", "name: web\n    mode: 0060", "certificates[0].mode: with these permissions"},
		"nobody reads public": {"name: web", "name: web\n    public_mode: \"000\"", "certificates[0].public_mode: with these permissions"},
		"no mode":             {"name: web", "name: web\n    mode: rw", "certificates[0].mode: permissions are three or four octal digits"},
		"a program":           {"name: web", "name: web\n    mode: 0700", "certificates[0].mode: with these"},
		"metrics for all":     {"server:", "metrics: 0.0.0.0:1\nserver:", "metrics: metrics are for this machine only"},
		"a path as file":      {"name: web", "name: web\n    files: {key: ../x}", "certificates[0].files.key: it is not a name"},
		"the link as file":    {"name: web", "name: web\n    files: {key: current}", "certificates[0].files.key: it is not a name"},
		"two files, one name": {"name: web", "name: web\n    files: {key: cert.pem}", "certificates[0].files.cert: two files have this name"},
		"no key":              {"name: web", "name: web\n    files: {key: \"\"}", "certificates[0].files: the files must hold key and certificate"},
		"a long hook":         {"name: web", "name: web\n    hook: {command: [x], timeout: 1h}", "certificates[0].hook.timeout: a hook cannot"},
		"a signal":            {"name: web", "name: web\n    reload: {signal: KILL, pid_file: x}", "certificates[0].reload.signal: \"KILL\" is not known"},
		"half a reload":       {"name: web", "name: web\n    reload: {signal: HUP}", "certificates[0].reload: signal and pid_file"},
		"a source":            {"name: web", "name: web\n    source: vault", "certificates[0].source: \"vault\" is not known"},
		"a kind of key":       {"name: web", "name: web\n    key: {type: dsa}", "certificates[0].key.type: \"dsa\" is not known"},
		"twice":               {"  - name: web", "  - {name: web, names: [x.internal]}\n  - name: web", "certificates[1].name: two certificates"},
		"one folder":          {"  - name: web", "  - {name: a, names: [x.internal], folder: /x}\n  - {name: b, names: [x.internal], folder: /x/}\n  - name: web", "certificates[1].folder: two certificates"},
		"inside another's":    {"  - name: web", "  - {name: a, names: [x.internal], folder: /x/}\n  - {name: b, names: [x.internal], folder: /x/y}\n  - name: web", "certificates[1].folder: it is inside the folder of certificate \"a\""},
		"around another's":    {"  - name: web", "  - {name: a, names: [x.internal], folder: x/y}\n  - {name: b, names: [x.internal], folder: x}\n  - name: web", "certificates[1].folder: the folder of certificate \"a\" is inside it"},
		"the same, relative":  {"  - name: web", "  - {name: a, names: [x.internal], folder: /etc/../etc/x}\n  - {name: b, names: [x.internal], folder: /etc/x}\n  - name: web", "certificates[1].folder: two certificates"},
		"the state folder":    {"  - name: web", "  - {name: a, names: [x.internal], folder: /var/lib/certwright-agent}\n  - {name: b, names: [x.internal], folder: y}\n  - name: web", "certificates[0].folder: the folder is the agent's state folder"},
		"in the state folder": {"  - name: web", "  - {name: a, names: [x.internal], folder: /var/lib/certwright-agent/acme}\n  - {name: b, names: [x.internal], folder: y}\n  - name: web", "certificates[0].folder: the folder is the agent's state folder"},
		"a default folder":    {"  - name: web", "  - {name: a, names: [x.internal], folder: /var/lib/certwright-agent/certificates/web}\n  - {name: b, names: [x.internal], folder: y}\n  - name: web", "certificates[2].folder: two certificates"},
		"no directory":        {"name: web", "name: web\n    source: acme", "acme.directory: it is not the URL"},
		"an open directory":   {"certificates:", "acme: {directory: \"http://ca/d\"}\ncertificates:\n  - {name: a, names: [x.internal], source: acme}", "acme.directory: it is not the URL of a directory over https"},
		"owner by ACME":       {"certificates:", "acme: {directory: \"https://ca/d\"}\ncertificates:\n  - {name: a, names: [x.internal], source: acme, owner: x}", "certificates[0].source: by ACME there are neither"},
		"dns without program": {"certificates:", "acme: {directory: \"https://ca/d\", challenge: dns-01}\ncertificates:\n  - {name: a, names: [x.internal], source: acme}", "acme.dns_command: dns-01 needs"},
		"too often":           {"server:", "tries_per_hour: 100\nserver:", "tries_per_hour: it is out of bounds"},
		"a long command":      {"token_file: token", "token_command: [\"" + strings.Repeat("x", 5000) + "\"]", "auth.token_command: it is not a command"},
	} {
		text := strings.Replace(small, test.old, test.new, 1)
		if text == small {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := Parse("a.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if _, err := Load(file); err == nil {
		t.Error("a file that is not there")
	}
	if err := os.WriteFile(file, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("# much\n", 1<<18)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a huge file: %v", err)
	}
	// Nobody ever writes to a pipe.
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"the file":         func() error { _, err := Load(file); return err },
		"roots":            func() error { _, err := Roots(file); return err },
		"the state folder": func() error { _, err := StateOf(file); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("certificates: [{}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("a.yaml", data)
		if err == nil && (len(c.Certificates) == 0 || !filepath.IsAbs(c.Certificates[0].Folder)) {
			t.Errorf("%q was read to %+v", data, c)
		}
	})
}

// TestStateOf: the state folder of a file that cannot be read as a whole.
func TestStateOf(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	for text, want := range map[string]string{
		"state: /var/x\nnonsense": "/var/x", "server: [\nstate: 'in here' # so\n": filepath.Join(dir, "in here"), "state: \"x\"": filepath.Join(dir, "x"),
		"": "/var/lib/certwright-agent", "certificates:\n- state: x\n": "/var/lib/certwright-agent", "state:\n": "/var/lib/certwright-agent",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := StateOf(file); err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}
