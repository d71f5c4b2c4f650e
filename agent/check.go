package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os/exec"

	"github.com/certwright/certwright/agent/config"
)

// Check tells what a file names that this host does not have: users, groups, programs;
// and, to root, what others could change. The error joins all faults, one line each.
func Check(c *config.Config) error {
	var all []error
	for i := range c.Certificates {
		if _, _, err := lookUp(&c.Certificates[i]); err != nil {
			all = append(all, fmt.Errorf("certificates[%d].%w", i, err))
		}
	}
	for key, program := range programs(c) {
		if _, err := exec.LookPath(program); err != nil {
			// Only in words: it is a fault of the file, whatever is missing.
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				err = inner
			}
			all = append(all, fmt.Errorf("%s: there is no program %.256q that can be run: %v", key, program, err)) //nolint:errorlint // see above
		}
	}
	return errors.Join(append(all, onlyRoots(c))...)
}

// onlyRoots refuses, to root, programs and trusted certificates that others could
// change. What is not there is told by who needs it.
func onlyRoots(c *config.Config) error {
	var all []error
	add := func(key, path string) {
		if err := config.Trusted(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, fmt.Errorf("%s: %w", key, err))
		}
	}
	for key, program := range programs(c) {
		if path, err := exec.LookPath(program); err == nil {
			add(key, path)
		}
	}
	for key, path := range map[string]string{"ca_file": c.CAFile, "acme.ca_file": c.ACME.CAFile, "acme.trust_file": c.ACME.TrustFile} {
		if path != "" && path != config.System && (key == "ca_file" || path != c.CAFile) {
			add(key, path)
		}
	}
	return errors.Join(all...)
}

// programs are what is run for the file, by key.
func programs(c *config.Config) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		more := true
		each := func(key string, argv []string) {
			if len(argv) > 0 && more {
				more = yield(key, argv[0])
			}
		}
		each("auth.token_command", c.Auth.TokenCommand)
		acme := false
		for i := range c.Certificates {
			one := &c.Certificates[i]
			path := fmt.Sprintf("certificates[%d].", i)
			each(path+"hook.command", one.Hook.Command)
			if own := one.Auth.TokenCommand; len(own) > 0 && (len(c.Auth.TokenCommand) == 0 || &own[0] != &c.Auth.TokenCommand[0]) {
				each(path+"auth.token_command", own)
			}
			acme = acme || one.Source == config.ACMESource
		}
		if acme && c.ACME.Challenge == "dns-01" {
			each("acme.dns_command", c.ACME.DNSCommand)
		}
	}
}
