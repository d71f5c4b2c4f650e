package agent

import (
	"errors"
	"fmt"
	"os/exec"

	"github.com/certwright/certwright/agent/config"
)

// Check tells what a file names that this host does not have: users, groups, programs.
// The error joins all faults, one line each.
func Check(c *config.Config) error {
	var all []error
	program := func(key string, argv []string) {
		if len(argv) == 0 {
			return
		}
		if _, err := exec.LookPath(argv[0]); err != nil {
			// Only in words: it is a fault of the file, whatever is missing.
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				err = inner
			}
			all = append(all, fmt.Errorf("%s: there is no program %.256q that can be run: %v", key, argv[0], err)) //nolint:errorlint // see above
		}
	}
	program("auth.token_command", c.Auth.TokenCommand)
	acme := false
	for i := range c.Certificates {
		each := &c.Certificates[i]
		path := fmt.Sprintf("certificates[%d].", i)
		if _, _, err := lookUp(each); err != nil {
			all = append(all, fmt.Errorf("%s%w", path, err))
		}
		program(path+"hook.command", each.Hook.Command)
		if own := each.Auth.TokenCommand; len(own) > 0 && (len(c.Auth.TokenCommand) == 0 || &own[0] != &c.Auth.TokenCommand[0]) {
			program(path+"auth.token_command", own)
		}
		acme = acme || each.Source == config.ACMESource
	}
	if acme && c.ACME.Challenge == "dns-01" {
		program("acme.dns_command", c.ACME.DNSCommand)
	}
	return errors.Join(all...)
}
