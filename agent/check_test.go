package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/agent/config"
)

// TestCheck: what the host does not have is told with its key, each once.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *config.Config {
		c, err := config.Parse("/a.yaml", []byte("server: x\nca_file: r\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := Check(parse("certificates: [{name: a, names: [a.internal], file_owner: \"0\", file_group: root, hook: {command: [sh]}}]")); err != nil {
		t.Error(err)
	}
	err := Check(parse(`
auth: {token_command: [no-such-token]}
acme: {directory: "https://ca/d", challenge: dns-01, dns_command: [/no/dns]}
certificates:
  - {name: a, names: [a.internal], file_owner: ghost, hook: {command: [/no/hook]}}
  - {name: b, names: [b.internal], file_group: ghosts, hook: {command: [` + plain + `]}, auth: {token_command: [/no/own]}}
  - {name: c, names: [c.internal], source: acme}
`))
	if err == nil {
		t.Fatal("all is fine")
	}
	want := []string{
		`certificates[0].file_owner: there is no user "ghost"`,
		`certificates[1].file_group: there is no group "ghosts"`,
		`auth.token_command: there is no program "no-such-token"`,
		`certificates[0].hook.command: there is no program "/no/hook" that can be run: `,
		`certificates[1].hook.command: there is no program "` + plain + `" that can be run: permission denied`,
		`certificates[1].auth.token_command: there is no program "/no/own"`,
		`acme.dns_command: there is no program "/no/dns"`,
	}
	got := strings.Split(err.Error(), "\n")
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%s", err)
	}
}

// TestOnlyRoots: root runs no program that others could change, and believes no root
// certificate that they could.
func TestOnlyRoots(t *testing.T) {
	dir := t.TempDir()
	roots, program := filepath.Join(dir, "root.crt"), filepath.Join(dir, "hook")
	for _, path := range []string{roots, program} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse("/a.yaml", []byte("server: x\nca_file: "+roots+
		"\nauth: {token_command: ["+program+"]}\ncertificates: [{name: a, names: [a.internal], hook: {command: ["+program+"]}}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(c); err != nil {
		t.Error(err)
	}
	root := os.Geteuid() == 0
	// The system's roots are no file, wherever the agent is started.
	others := t.TempDir()
	if err := os.Chmod(others, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(others)
	c.ACME.CAFile, c.ACME.TrustFile = config.System, config.System
	if err := Check(c); err != nil {
		t.Error(err)
	}
	running := &Agent{config: c, options: Options{Load: func() (*config.Config, error) { return c, nil }}}
	for path, keys := range map[string][]string{roots: {"ca_file: "}, program: {"auth.token_command: ", "certificates[0].hook.command: "}} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		_, reload := running.reload()
		for name, err := range map[string]error{"check": Check(c), "reload": reload} {
			for _, key := range keys {
				if told := err != nil && strings.Contains(err.Error(), key+path+" can be changed by others"); told != root {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
