package acme

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/ari"
	"github.com/certwright/certwright/storage"
)

// unknownCertID: it is not the identifier of a certificate of this CA.
func unknownCertID() *fault {
	return refuse(Malformed, "this is not the identifier of a certificate of this CA (RFC 9773 §4.1)").with(http.StatusNotFound)
}

// certificateOf finds the certificate of a certID: the issuer's key identifier and
// the serial, base64url with a dot between.
func (s *Server) certificateOf(ctx context.Context, certID string) (storage.Certificate, error) {
	left, right, ok := strings.Cut(certID, ".")
	aki, err := base64.RawURLEncoding.Strict().DecodeString(left)
	number, rerr := base64.RawURLEncoding.Strict().DecodeString(right)
	if !ok || err != nil || rerr != nil || len(aki) == 0 || len(number) == 0 || len(number) > 20 {
		return storage.Certificate{}, refuse(Malformed, "this is not the identifier of a certificate (RFC 9773 §4.1)")
	}
	serial, err := identity.SerialFromBig(new(big.Int).SetBytes(number))
	if err != nil || !bytes.Equal(derInteger(serial), number) {
		return storage.Certificate{}, unknownCertID()
	}
	for _, info := range s.issuers {
		if !bytes.Equal(info.Certificate.SubjectKeyId, aki) {
			continue
		}
		c, err := s.store.BySerial(ctx, info.KeyID, serial)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return storage.Certificate{}, storeFault(err)
		}
		if c.State == storage.Issued {
			return c, nil
		}
	}
	return storage.Certificate{}, unknownCertID()
}

// derInteger are the content octets of the serial as a DER INTEGER.
func derInteger(serial identity.Serial) []byte {
	b := serial.Big().Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// renewalInfo answers with the suggested window (RFC 9773 §4).
func (s *Server) renewalInfo(ctx context.Context, q *request) error {
	c, err := s.certificateOf(ctx, q.args[0])
	if err != nil {
		return err
	}
	w, err := ari.Of(ctx, s.store, c, s.now())
	if err != nil {
		return storeFault(err)
	}
	q.retryAfter(w.AskAgain)
	return q.json(http.StatusOK, struct {
		Window      window `json:"suggestedWindow"`
		Explanation string `json:"explanationURL,omitempty"`
	}{window{w.Start, w.End}, w.Explanation})
}

// window is when a certificate is to be renewed (RFC 9773 §4.2).
type window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// ReplaceBy pulls the renewal windows of certificates forward, so that they are
// replaced before a time: what an incident needs. explanation is a URL for
// clients, or empty.
func (s *Server) ReplaceBy(ctx context.Context, certificates []storage.Certificate, before time.Time, explanation string) error {
	for part := range slices.Chunk(certificates, sweepChunk) {
		unit := make(storage.Unit, 0, len(part))
		for _, c := range part {
			put, err := ari.Pull(c, before, explanation)
			if err != nil {
				return fmt.Errorf("renewal windows: %w", err)
			}
			unit = append(unit, put)
		}
		if _, err := s.store.Commit(ctx, unit); err != nil {
			return fmt.Errorf("renewal windows: %w", err)
		}
	}
	return nil
}

// checkReplaces checks the certID that a new order names (RFC 9773 §5): of a
// certificate of the same account, with a name in common, not replaced yet. The
// order keeps which certificate it is, for the ledger.
func (s *Server) checkReplaces(ctx context.Context, a *account, o *order) error {
	c, err := s.certificateOf(ctx, o.Replaces)
	if err != nil {
		f := asFault(err)
		return refuse(Malformed, "replaces: %s", f.Detail).because(err)
	}
	if c.Requester != actor(a.ID) {
		return refuse(Unauthorized, "replaces: the certificate is another account's")
	}
	if !slices.ContainsFunc(o.names(), func(id identity.Identifier) bool { return slices.Contains(c.Names, id) }) {
		return refuse(Malformed, "replaces: the order has no name of the certificate that it replaces")
	}
	o.Replaced = c.Fingerprint[:]
	return s.checkNotReplaced(ctx, o)
}

// checkNotReplaced refuses to replace what another finalized order has replaced.
func (s *Server) checkNotReplaced(ctx context.Context, o *order) error {
	r, err := s.store.Record(ctx, replacedCollection, replacedMark(o).ID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return storeFault(err)
	case string(r.Body) == o.ID:
		return nil
	}
	return refuse(AlreadyReplaced, "replaces: the certificate has been replaced by another order")
}

// replacedRetention is longer than certificates live here.
const replacedRetention = 400 * 24 * time.Hour

// replacedMark says that an order replaces a certificate; there is one for each.
func replacedMark(o *order) storage.PutRecord {
	return storage.PutRecord{
		Collection: replacedCollection, ID: o.Replaces, Body: []byte(o.ID), Expires: o.Created.Add(replacedRetention),
	}
}
