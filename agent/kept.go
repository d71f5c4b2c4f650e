package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// IsRunning tells whether Open failed because another agent has the state folder.
func IsRunning(err error) bool {
	var p *problem.Problem
	return errors.As(err, &p) && p.Reason == reasonRunning
}

// Kept is how the certificates of these names stand, no names: all, by the status of
// the agent that runs. kept is whether each is valid, what the file asks for, and in
// its folder: then there is nothing to obtain beside that agent.
func Kept(c *config.Config, names []string, now time.Time) (all []CertificateStatus, kept bool) {
	s, err := ReadStatus(c.State, now)
	if err != nil {
		return nil, false
	}
	for i := range c.Certificates {
		each := &c.Certificates[i]
		if len(names) > 0 && !slices.Contains(names, each.Name) {
			continue
		}
		at := slices.IndexFunc(s.Certificates, func(one CertificateStatus) bool { return one.Name == each.Name })
		if at < 0 || !s.Certificates[at].keeps(each) {
			return nil, false
		}
		all = append(all, s.Certificates[at])
	}
	return all, len(all) > 0 && !slices.ContainsFunc(names, func(name string) bool { return c.Find(name) == nil })
}

// Waiting says why the agent that runs has no certificate yet for the first of these
// names, no names: of all, that has none, and when it tries again; "" if each has one.
func Waiting(c *config.Config, names []string, now time.Time) string {
	s, err := ReadStatus(c.State, now)
	if err != nil {
		return ""
	}
	for i := range s.Certificates {
		one := &s.Certificates[i]
		if one.State != Missing || c.Find(one.Name) == nil || len(names) > 0 && !slices.Contains(names, one.Name) {
			continue
		}
		why := ""
		if one.LastError != "" {
			why = ": " + one.LastError
		}
		return fmt.Sprintf("%s has no certificate yet%s; next attempt at %s", one.Name, why, one.NextAttempt.Format(time.RFC3339))
	}
	return ""
}

// keeps tells whether the status is that of a valid certificate as the file wants it.
func (c *CertificateStatus) keeps(want *config.Certificate) bool {
	if c.State != Valid || c.Source != want.Source || c.Folder != want.Folder {
		return false
	}
	var ids []identity.Identifier
	for _, name := range want.Names {
		ids = append(ids, config.Identify(name))
	}
	ids, err := identity.CanonicalSet(ids)
	if err != nil || !slices.EqualFunc(ids, c.Names, func(id identity.Identifier, name string) bool { return id.Value == name }) {
		return false
	}
	// The folder may have been emptied since. Who may not look takes the status's word.
	f := folder.Folder{Dir: want.Folder, Files: want.Files}
	held, err := f.Held()
	return errors.Is(err, fs.ErrPermission) || err == nil && held != nil && held.ID() == c.ID
}
