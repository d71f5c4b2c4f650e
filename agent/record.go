package agent

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/client/schedule"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
)

// pendingLasts is how long a request without an answer is repeated as it was. Later
// its answer would be an old certificate.
const pendingLasts = time.Hour

// record is what a keeper must not forget.
type record struct {
	Plan        schedule.Plan `json:"plan"`
	Certificate string        `json:"certificate,omitempty"` // ID of the one that the plan is for
	Order       string        `json:"order,omitempty"`       // what it was asked for
	Request     string        `json:"request,omitempty"`     // what the last attempt asked for, and of whom
	LastError   string        `json:"last_error,omitempty"`
	LastErrorAt time.Time     `json:"last_error_at,omitzero"`
	Note        string        `json:"note,omitempty"` // what was not as usual when it came

	HookDue      bool      `json:"hook_due,omitempty"`
	HookFailures int       `json:"hook_failures,omitempty"`
	HookRetry    time.Time `json:"hook_retry,omitzero"`
	HookError    string    `json:"hook_error,omitempty"`
}

func (k *keeper) recordFile() string  { return k.agent.path("records", k.config.Name+".json") }
func (k *keeper) pendingFile() string { return k.agent.path("pending", k.config.Name+".json") }

// load reads the record. One that cannot be read is as good as none: it holds times
// and texts only.
func (k *keeper) load() {
	if _, err := folder.ReadJSON(k.recordFile(), &k.record); err != nil {
		k.log.Warn("the record cannot be read and is begun anew", slog.String("error", err.Error()))
		k.record = record{}
	}
}

// change changes the record and keeps it.
func (k *keeper) change(how func(*record)) error {
	k.mu.Lock()
	how(&k.record)
	kept := k.record
	k.mu.Unlock()
	return folder.WriteJSON(k.recordFile(), kept, 0o600)
}

// orderOf is what is wanted besides the key and the time, as a digest: if it changes,
// a certificate cannot be renewed and a new one is asked for.
func orderOf(c *config.Certificate, names []identity.Identifier) (string, error) {
	text, err := json.Marshal([]any{names, c.Profile, c.Owner, c.Labels})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// requestOf is what is asked for, of whom and as whom, as a digest: if it changes, what
// failed before says nothing about the next attempt.
func requestOf(c *config.Config, each *config.Certificate, order string) (string, error) {
	what := []any{order, each.Source, each.Validity, each.Key.Type, c.CAFile}
	if each.Source == config.ACMESource {
		what = append(what, c.ACME)
	} else {
		what = append(what, c.Server, each.Auth)
	}
	text, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// begin forgets the failures of another request.
func (r *record) begin(request string) {
	if r.LastError == "" || r.Request == request {
		return
	}
	r.Plan.Retry, r.Plan.Failures = time.Time{}, 0
	r.LastError, r.LastErrorAt = "", time.Time{}
}

// hurry ends the wait for the next attempt if there is no certificate that is valid:
// who has the file read again has mended something. Attempts count on.
func (k *keeper) hurry(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil || now.After(k.held.Leaf().NotAfter) {
		k.record.Plan.Retry = time.Time{}
	}
}

// pending is a request under way, with its key. It is on disk before the server
// hears of it, so that a process that dies then asks for the same certificate again
// and not for another.
type pending struct {
	ID    string    `json:"id"`
	Order string    `json:"order"`
	Made  time.Time `json:"made"`
	// Replaces is the certificate that was there then.
	Replaces string `json:"replaces,omitempty"`
	Key      string `json:"key"` // PKCS#8, PEM
	CSR      string `json:"csr"` // PEM

	key crypto.Signer
	csr *x509.CertificateRequest
}

// pending is the request under way; nil if there is none.
func (k *keeper) pending() (*pending, error) {
	p := &pending{}
	found, err := folder.ReadSecretJSON(k.pendingFile(), p)
	if err != nil || !found {
		return nil, err
	}
	if p.key, err = folder.ParseKey([]byte(p.Key)); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(p.CSR))
	if block == nil {
		return nil, errors.New("there is no CSR in PEM")
	}
	if p.csr, err = x509.ParseCertificateRequest(block.Bytes); err != nil {
		return nil, err
	}
	return p, nil
}

// answered tells whether the certificate held is the answer to the request.
func (p *pending) answered(h *folder.Held) bool {
	return folder.Matches(p.key, h.Leaf()) && h.ID() != p.Replaces
}

// request is the one under way, or a new one.
func (k *keeper) request(ctx context.Context, now time.Time) (*pending, error) {
	p, err := k.pending()
	if err != nil {
		k.log.Warn("the request under way cannot be read and is begun anew", slog.String("error", err.Error()))
	}
	if err == nil && p != nil && p.Order == k.order && now.Sub(p.Made).Abs() < pendingLasts && keys.Algorithm(p.key.Public()) == k.config.Key.Type {
		return p, nil
	}
	if p, err = k.newPending(ctx, now); err != nil {
		return nil, err
	}
	if err := folder.WriteJSON(k.pendingFile(), p, 0o600); err != nil {
		return nil, fmt.Errorf("the request cannot be kept: %w", err)
	}
	return p, nil
}

// newPending makes a key, unless the agent's own that is there shall be kept, and a CSR.
func (k *keeper) newPending(ctx context.Context, now time.Time) (p *pending, err error) {
	p = &pending{ID: "agent-" + strings.ToLower(rand.Text()), Order: k.order, Made: now}
	if k.held != nil && k.config.Key.Reuse && !k.held.Adopted && keys.Algorithm(k.held.Key.Public()) == k.config.Key.Type {
		p.key = k.held.Key
	} else if p.key, err = client.NewKey(k.config.Key.Type); err != nil {
		return nil, err
	}
	csr, err := client.CSR(p.key, sorted(k.names))
	if err != nil {
		return nil, err
	}
	key, err := client.EncodeKey(p.key)
	if err != nil {
		return nil, err
	}
	if k.held != nil {
		p.Replaces = k.held.ID()
	}
	block, _ := pem.Decode(csr)
	if p.csr, err = x509.ParseCertificateRequest(block.Bytes); err != nil {
		return nil, err
	}
	p.Key, p.CSR = string(key), string(csr)
	return p, nil
}

// sorted are the names by their types.
func sorted(ids []identity.Identifier) client.Names {
	var names client.Names
	for _, id := range ids {
		switch id.Type {
		case identity.IP:
			names.IP = append(names.IP, id.Value)
		case identity.URI:
			names.URI = append(names.URI, id.Value)
		case identity.Email:
			names.Email = append(names.Email, id.Value)
		default:
			names.DNS = append(names.DNS, id.Value)
		}
	}
	return names
}

// drop forgets the request under way.
func (k *keeper) drop() error { return folder.Remove(k.pendingFile()) }
