package agent

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/identity"
)

// The states of a certificate.
const (
	Valid      = "valid"       // there, and nothing has failed since
	Failing    = "failing"     // there, and its renewal fails
	HookFails  = "hook_failed" // there, and the hook fails
	Expired    = "expired"
	Missing    = "missing" // there is none yet
	statusFile = "status.json"
)

// Status is how an agent stands, as status.json has it.
type Status struct {
	Version      string              `json:"version"`
	PID          int                 `json:"pid"`
	Updated      time.Time           `json:"updated"`
	Refusal      string              `json:"file_refused"` // why the file, read again, is not used; "": it is
	RefusedSince time.Time           `json:"file_refused_since,omitzero"`
	Certificates []CertificateStatus `json:"certificates"`
}

// CertificateStatus is how one certificate stands.
type CertificateStatus struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Names       []string  `json:"names"`
	Source      string    `json:"source"`
	Folder      string    `json:"folder"`
	ID          string    `json:"id"`     // SHA-256 of the DER
	Serial      string    `json:"serial"` // hexadecimal
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	NextAttempt time.Time `json:"next_attempt"`
	Failures    int       `json:"failures"`   // since the last certificate
	Tries       int       `json:"tries"`      // of the last hour
	LastError   string    `json:"last_error"` // of the last attempt, if it failed
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Note        string    `json:"note"` // what was not as usual when the certificate came
	HookError   string    `json:"hook_error"`
	HookRetry   time.Time `json:"hook_retry,omitzero"`
}

// stateAt is the state at a time: a certificate expires without the agent.
func (c *CertificateStatus) stateAt(now time.Time) string {
	switch {
	case c.Serial == "":
		return Missing
	case now.After(c.NotAfter):
		return Expired
	case c.LastError != "":
		return Failing
	case c.HookError != "":
		return HookFails
	}
	return Valid
}

// ReadStatus reads the status of a state folder, with the states as they are now.
func ReadStatus(state string, now time.Time) (*Status, error) {
	s := &Status{}
	file := filepath.Join(state, statusFile)
	found, err := folder.ReadJSON(file, s)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &os.PathError{Op: "status", Path: file, Err: os.ErrNotExist}
	}
	for i := range s.Certificates {
		s.Certificates[i].State = s.Certificates[i].stateAt(now)
	}
	return s, nil
}

func (k *keeper) status(now time.Time) CertificateStatus {
	next := k.next(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.record
	c := CertificateStatus{
		Name: k.config.Name, Source: k.config.Source, Folder: k.config.Folder, NextAttempt: next.UTC(), Failures: r.Plan.Failures,
		Tries: k.rules.Recent(r.Plan, now), LastError: r.LastError, LastErrorAt: r.LastErrorAt.UTC(), Note: r.Note, HookError: r.HookError, HookRetry: r.HookRetry.UTC(),
	}
	for _, id := range k.names {
		c.Names = append(c.Names, id.Value)
	}
	if k.held != nil {
		leaf := k.held.Leaf()
		c.ID, c.Serial, c.NotBefore, c.NotAfter = k.held.ID(), serialOf(leaf), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	}
	c.State = c.stateAt(now)
	return c
}

// serialOf is the serial as the server writes it; in plain hexadecimal if it is one
// of another CA that does not fit.
func serialOf(leaf *x509.Certificate) string {
	if serial, err := identity.SerialFromBig(leaf.SerialNumber); err == nil {
		return serial.String()
	}
	return fmt.Sprintf("%x", leaf.SerialNumber)
}

// Status is how the agent stands now.
func (a *Agent) Status() Status {
	now := time.Now()
	s := Status{Version: a.options.Version, PID: os.Getpid(), Updated: now.UTC()}
	a.mu.Lock()
	s.Refusal, s.RefusedSince = a.refusal, a.refusedSince
	a.mu.Unlock()
	for _, k := range a.all() {
		s.Certificates = append(s.Certificates, k.status(now))
	}
	return s
}

// saveStatus writes status.json, if anything but the time is new.
func (a *Agent) saveStatus() {
	a.saving.Lock()
	defer a.saving.Unlock()
	s := a.Status()
	said := fmt.Sprint(s.Refusal, s.Certificates)
	if said == a.said {
		return
	}
	if err := folder.WriteJSON(a.path(statusFile), s, 0o644); err != nil {
		a.log.Error("the status cannot be written", slog.String("error", err.Error()))
		return
	}
	a.said = said
}

// summary is one line for the service manager.
func (a *Agent) summary() string {
	s := a.Status()
	count := map[string]int{}
	var next time.Time
	for _, c := range s.Certificates {
		count[c.State]++
		if next.IsZero() || c.NextAttempt.Before(next) {
			next = c.NextAttempt
		}
	}
	parts := []string{fmt.Sprintf("%d certificates", len(s.Certificates))}
	for _, state := range []string{Valid, Failing, HookFails, Expired, Missing} {
		if count[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[state], strings.ReplaceAll(state, "_", " ")))
		}
	}
	line := strings.Join(parts, ", ") + "; next attempt " + next.Format(time.RFC3339)
	if s.Refusal != "" {
		line = "the new file has faults and is not used; " + line
	}
	return line
}
