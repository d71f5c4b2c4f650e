// Package inventory answers what was issued: a search over certificates by a
// filter (AIP-160), what is about to expire and has no successor, and the
// earliest expiry of each owner. It reads the store's indexes; it keeps nothing.
//
// Certificates of one owner and profile with the same set of names are a line of
// renewal. A certificate is superseded if a valid one of its line was issued after
// it. To find that one, at most 2,000 certificates
// that bear the first name are read, newest first; beyond them a certificate
// counts as not superseded.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Issuer is an issuer by its two names.
type Issuer struct {
	Name  string
	KeyID identity.KeyID
}

// Config of an Inventory.
type Config struct {
	Store storage.CertificateReader
	// Issuers are the issuers whose certificates are searched by their names; a
	// certificate of another issuer has its key ID as the name.
	Issuers []Issuer
	// Ledger has the labels of certificates, for Labels and for filters that name
	// one. Nil: there are none.
	Ledger storage.LedgerReader
	Now    func() time.Time // nil: time.Now
}

// Inventory searches. Its methods may be called by many goroutines at once.
type Inventory struct {
	config Config
}

// New makes an Inventory over a store.
func New(c Config) (*Inventory, error) {
	if c.Store == nil {
		return nil, errors.New("inventory: no store")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Inventory{config: c}, nil
}

// Row is a certificate in a list.
type Row struct {
	storage.Certificate
	Superseded bool
}

// The states that a certificate is in for readers. Exactly one holds.
const (
	StateReserved  = "RESERVED"
	StateIssued    = "ISSUED"
	StateAbandoned = "ABANDONED"
	StateRevoked   = "REVOKED"
	StateExpired   = "EXPIRED"
)

// StateOf is the certificate's state at a time. REVOKED and ABANDONED win over
// EXPIRED; an abandoned certificate, whose serial is revoked, is ABANDONED.
func StateOf(c storage.Certificate, now time.Time) string {
	switch {
	case c.State == storage.Abandoned:
		return StateAbandoned
	case c.Revocation != nil:
		return StateRevoked
	case c.State == storage.Reserved:
		return StateReserved
	case now.After(c.NotAfter):
		return StateExpired
	}
	return StateIssued
}

// IssuerName is the name of the issuer with this key, else the key ID's text.
func (v *Inventory) IssuerName(id identity.KeyID) string {
	for _, issuer := range v.config.Issuers {
		if issuer.KeyID == id {
			return issuer.Name
		}
	}
	return id.String()
}

// Labels are the certificate's labels. The ledger has commitments to them; a label
// that was erased is left out.
func (v *Inventory) Labels(ctx context.Context, c storage.Certificate) (map[string]string, error) {
	if v.config.Ledger == nil || len(c.Intent.Labels) == 0 {
		return nil, nil
	}
	labels := make(map[string]string, len(c.Intent.Labels))
	for _, commitment := range c.Intent.Labels {
		text, _, err := v.config.Ledger.Erasable(ctx, commitment)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("inventory: label: %w", err)
		}
		key, value, _ := strings.Cut(string(text), "=")
		labels[key] = value
	}
	return labels, nil
}

// Line names the line of renewal of a certificate. Its profile counts: what a
// responder certificate is for, no server certificate of the same names does.
func Line(c storage.Certificate) string {
	line := fmt.Sprintf("%d:%s%d:%s", len(c.Intent.Owner), c.Intent.Owner, len(c.Intent.Profile), c.Intent.Profile)
	for _, name := range c.Names {
		line += fmt.Sprintf("%d:%s", len(name.String()), name)
	}
	return line
}

// Superseded tells whether a later valid certificate of the same line of renewal
// exists.
func (v *Inventory) Superseded(ctx context.Context, c storage.Certificate) (bool, error) {
	return newSuccessors(v.config.Store, v.config.Now()).of(ctx, c)
}

// successors finds the newest valid certificate of each line of renewal, each line
// once.
type successors struct {
	store  storage.CertificateReader
	now    time.Time
	newest map[string]uint64 // line → ledger index
}

func newSuccessors(store storage.CertificateReader, now time.Time) *successors {
	return &successors{store: store, now: now, newest: map[string]uint64{}}
}

// maxSuccessorRows bounds the search for one line's newest certificate.
const maxSuccessorRows = 2000

func (s *successors) of(ctx context.Context, c storage.Certificate) (bool, error) {
	if len(c.Names) == 0 {
		return false, nil
	}
	line := Line(c)
	if newest, ok := s.newest[line]; ok {
		return newest > c.Index, nil
	}
	query := storage.Query{Order: storage.ByName, Value: c.Names[0].String(), Descending: true, Limit: 8}
	for seen := 0; seen < maxSuccessorRows; query.Limit = min(4*query.Limit, 500) {
		page, err := s.store.Certificates(ctx, query)
		if err != nil {
			return false, err
		}
		for _, other := range page.Certificates {
			if s.valid(other) && other.Intent.Owner == c.Intent.Owner && other.Intent.Profile == c.Intent.Profile && slices.Equal(other.Names, c.Names) {
				s.newest[line] = other.Index
				return other.Index > c.Index, nil
			}
			if other.Index <= c.Index {
				return false, nil
			}
		}
		if page.Next == nil {
			return false, nil
		}
		seen += len(page.Certificates)
		query.After = page.Next
	}
	return false, nil
}

func (s *successors) valid(c storage.Certificate) bool {
	return StateOf(c, s.now) == StateIssued && !s.now.Before(c.NotBefore)
}
