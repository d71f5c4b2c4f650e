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
		`auth.token_command: there is no program "no-such-token"`,
		`certificates[0].file_owner: there is no user "ghost"`,
		`certificates[0].hook.command: there is no program "/no/hook" that can be run: `,
		`certificates[1].file_group: there is no group "ghosts"`,
		`certificates[1].hook.command: there is no program "` + plain + `" that can be run: permission denied`,
		`certificates[1].auth.token_command: there is no program "/no/own"`,
		`acme.dns_command: there is no program "/no/dns"`,
	}
	got := strings.Split(err.Error(), "\n")
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%s", err)
	}
}
