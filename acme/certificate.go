package acme

import (
	"context"
	"encoding/pem"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// The media types of a certificate.
const (
	typeChain = "application/pem-certificate-chain" // RFC 8555 §9.1
	typeLeaf  = "application/pkix-cert"             // RFC 2585: the leaf alone
)

// certificate answers with the certificate of an order (RFC 8555 §7.4.2). Its URL
// names the order; that it is the caller's is part of the request's key.
func (s *Server) certificate(ctx context.Context, q *request) error {
	if err := q.asGet(); err != nil {
		return err
	}
	kind, ok := accepted(q.r.Header.Values("Accept"))
	if !ok {
		return refuse(Malformed, "a certificate is given as %s, or its leaf alone as %s", typeChain, typeLeaf).with(http.StatusNotAcceptable)
	}
	key := identity.Request{ID: q.args[0], Principal: identity.Principal{Method: identity.ACME, ID: q.account.ID}}.Key()
	c, err := s.store.ByRequest(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		if _, _, err := s.ownOrder(ctx, q); err != nil { // another's, or none
			return err
		}
		return notFound("certificate: the order has none yet")
	}
	if err != nil {
		return storeFault(err)
	}
	if c.State != storage.Issued {
		f := notFound("certificate yet: it is being issued")
		f.retry = retryLater
		return f
	}
	if kind == typeLeaf {
		q.write(http.StatusOK, kind, c.DER)
		return nil
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})
	q.write(http.StatusOK, kind, append(body, s.chains[c.Issuer]...))
	return nil
}

// accepted is the media type to answer with (RFC 9110 §12.5.1): the chain if it is
// welcome at all.
func accepted(headers []string) (string, bool) {
	var ranges []string
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q == 0 {
			continue
		}
		ranges = append(ranges, kind)
	}
	if len(headers) == 0 || len(strings.TrimSpace(strings.Join(headers, ""))) == 0 {
		return typeChain, true
	}
	for _, each := range []string{typeChain, "*/*", "application/*"} {
		if slices.Contains(ranges, each) {
			return typeChain, true
		}
	}
	return typeLeaf, slices.Contains(ranges, typeLeaf)
}
