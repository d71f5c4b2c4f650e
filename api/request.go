package api

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// The bounds of a SignCertificateRequest.
const (
	maxCSRText    = 24 << 10 // 16 KiB of DER in PEM
	maxName       = 128      // of a profile, an owner
	maxRequestID  = 64
	maxLabels     = 16
	maxLabelKey   = 63
	maxLabelValue = 255
	maxValidity   = 100 * 365 * 24 * time.Hour
)

// request is what a SignCertificateRequest asks for, of its right form.
func (s *Server) request(principal identity.Principal, in *certwrightv1.SignCertificateRequest) (identity.Request, error) {
	req := identity.Request{
		ID: in.GetRequestId(), Kind: identity.X509, Profile: in.GetProfile(), Principal: principal,
		Owner: in.GetOwner(), Labels: in.GetLabels(),
	}
	if err := checkAsked(in.GetProfile(), in.GetOwner(), in.GetLabels()); err != nil {
		return req, err
	}
	if err := checkRequestID(in.GetRequestId()); err != nil {
		return req, err
	}
	var err error
	if req.Validity, err = validity(in.GetValidity()); err != nil {
		return req, err
	}
	if err := checkCSRText(in.GetCsr()); err != nil {
		return req, err
	}
	csr, err := ca.ParseCSR([]byte(in.GetCsr()))
	if err != nil {
		return req, err
	}
	req.Identifiers, req.PublicKey, req.CSRHash = csr.Identifiers, csr.PublicKey, csr.Hash
	if req.Profile == "" {
		req.Profile = s.onlyProfile(principal)
	}
	return req, nil
}

func checkCSRText(csr string) error {
	if len(csr) > maxCSRText {
		return invalid("csr", fmt.Sprintf("%d octets", len(csr)), "the CSR is too large", "16 KiB")
	}
	if !strings.Contains(csr, "-----BEGIN ") {
		return invalid("csr", "", "the CSR is not PEM", "one PEM block CERTIFICATE REQUEST")
	}
	return nil
}

// onlyProfile is the profile that a caller means who names none: the only one
// that the credential's own grant has, or that grants give to the caller.
func (s *Server) onlyProfile(p identity.Principal) string {
	switch {
	case p.Bound == nil:
		return s.config.Policies.Engine().OnlyProfile(p)
	case len(p.Bound.Profiles) == 1:
		return p.Bound.Profiles[0]
	}
	return ""
}

func checkAsked(profile, owner string, labels map[string]string) error {
	if profile != "" && !token.Printable(profile, maxName) {
		return invalid("profile", profile, "the profile is not a name", "at most 128 printable ASCII characters")
	}
	if owner != "" && !token.Printable(owner, maxName) {
		return invalid("owner", owner, "the owner is not a name", "at most 128 printable ASCII characters")
	}
	if len(labels) > maxLabels {
		return invalid("labels", fmt.Sprint(len(labels)), "there are too many labels", "at most 16")
	}
	for key, value := range labels {
		if !token.Printable(key, maxLabelKey) || strings.ContainsAny(key, "= ") {
			return invalid("labels", key, "a label's key is not a name", "at most 63 printable ASCII characters without = and space")
		}
		if value != "" && !token.Printable(value, maxLabelValue) {
			return invalid("labels."+key, value, "a label's value has characters that it must not have, or too many", "at most 255 printable ASCII characters")
		}
	}
	return nil
}

func checkRequestID(id string) error {
	if id != "" && !token.Printable(id, maxRequestID) {
		return invalid("request_id", id, "the request_id has characters that it must not have, or too many", "at most 64 printable ASCII characters, for example a UUID")
	}
	return nil
}

// validity is a wished duration; nil: none is wished.
func validity(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if d.CheckValid() != nil || d.AsDuration() <= 0 || d.AsDuration() > maxValidity {
		return 0, invalid("validity", fmt.Sprintf("%ds", d.GetSeconds()), "the validity is not a time that a certificate can have", "more than 0s, at most what the profile allows")
	}
	return d.AsDuration(), nil
}

// invalid is a field that is not of its form.
func invalid(field, value, detail, allowed string) *problem.Problem {
	if len(value) > maxName {
		value = value[:maxName] + "…"
	}
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "FIELD_INVALID", Rule: field, Value: value, Detail: detail, Allowed: allowed,
	}
}

// pageSize is the number of rows of a page.
func pageSize(n int32) (int, error) {
	switch {
	case n < 0:
		return 0, invalid("page_size", fmt.Sprint(n), "the page size is negative", "1 to 1000; 0 is 100")
	case n == 0:
		return 100, nil
	}
	return min(int(n), 1000), nil
}

// budget is so many a minute.
type budget struct {
	mu     sync.Mutex
	limit  int
	left   int
	minute time.Time
}

func newBudget(limit int) *budget { return &budget{limit: limit} }

func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(b.minute) {
		b.minute, b.left = minute, b.limit
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}
