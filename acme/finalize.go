package acme

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"

	"github.com/go-jose/go-jose/v4"
)

// finalize has the order's certificate issued (RFC 8555 §7.4). Of many at a time
// exactly one signs: the order's ID is the request's ID, and the order's change to
// processing is in the unit that reserves the serial. A repetition with the same
// key gets the same answer.
func (s *Server) finalize(ctx context.Context, q *request) error {
	var p struct {
		CSR string `json:"csr"`
	}
	if err := q.decode(&p); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(p.CSR)
	if err != nil || len(der) == 0 {
		return refuse(Malformed, "the CSR is not base64url of DER")
	}
	csr, err := s.readCSR(q.account, der)
	if err != nil {
		return err
	}
	if err := s.usable(ctx, q.account.key); err != nil { // it may have become known as compromised since
		return err
	}
	for range maxFinalize {
		o, all, err := s.ownOrder(ctx, q)
		if err != nil {
			return err
		}
		if err := s.checkReady(ctx, q.account, o, all, csr); err != nil {
			return err
		}
		err = s.issue(ctx, q, o, all, csr)
		if errors.Is(err, errChanged) {
			if q.account, err = s.moved(ctx, q.account); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if o, _, err = s.ownOrder(ctx, q); err != nil {
			return err
		}
		return s.answerOrder(q, o, nil)
	}
	return refuse(OrderNotReady, "the order is being changed by other requests; try again").with(http.StatusConflict)
}

// maxFinalize is how often one finalize begins again after a conflict.
const maxFinalize = 4

// readCSR reads a CSR whose key is not the account's.
func (s *Server) readCSR(a *account, der []byte) (x509cert.CSR, error) {
	if der[0] != 0x30 {
		return x509cert.CSR{}, refuse(BadCSR, "the CSR is not DER")
	}
	csr, err := ca.ParseCSR(der)
	if err != nil {
		f := asFault(err)
		if f.is(RejectedIdentifier) || f.is(Malformed) {
			return csr, refuse(BadCSR, "%s", f.Detail).because(err)
		}
		return csr, f
	}
	sum, err := jws.Thumbprint(&jose.JSONWebKey{Key: csr.PublicKey})
	if err != nil {
		return csr, refuse(BadCSR, "the CSR's key cannot be used").because(err)
	}
	if base64.RawURLEncoding.EncodeToString(sum[:]) == a.Thumbprint {
		return csr, refuse(BadCSR, "the CSR's key is the account's key: make another")
	}
	return csr, nil
}

// checkReady checks the order's state, and each name by its authorization. An
// order that has been finalized goes on too: with the same key it is a repetition.
func (s *Server) checkReady(ctx context.Context, a *account, o *order, all []*authorization, csr x509cert.CSR) error {
	if !slices.Equal(csr.Identifiers, o.names()) {
		return refuse(BadCSR, "the CSR's names are not those of the order: exactly these must stand in it: %s", nameList(o))
	}
	status, failure := s.orderState(o, all)
	switch status {
	case statusReady:
	case statusValid, statusProcessing:
		return nil
	case statusInvalid:
		f := refuse(OrderNotReady, "the order is invalid")
		if failure != nil {
			f.Detail += ": " + failure.Detail
		}
		return f
	default:
		return refuse(OrderNotReady, "the order is %s: its authorizations come first", status)
	}
	for _, z := range all {
		if z.Grant == "" {
			continue
		}
		decision, err := s.policy().DecideNames(s.issueRequest(a, o, csr), s.now())
		if err != nil {
			return asOrderFault(err)
		}
		if !decision.NoChallenges {
			return refuse(Unauthorized, "the policy asks for challenges by now: make a new order")
		}
		break
	}
	if o.Replaces != "" {
		if err := s.checkNotReplaced(ctx, o); err != nil {
			return err
		}
	}
	return s.checkCAA(ctx, a, all)
}

func nameList(o *order) string {
	text := ""
	for i, id := range o.Identifiers {
		if i == 10 {
			return text + ", …"
		}
		if i > 0 {
			text += ", "
		}
		text += id.Value
	}
	return text
}

// issueRequest is the order as the one door takes it.
func (s *Server) issueRequest(a *account, o *order, csr x509cert.CSR) identity.Request {
	req := identity.Request{
		ID: o.ID, Kind: identity.X509, Profile: o.Profile, Principal: a.principal(), Identifiers: o.names(),
		PublicKey: csr.PublicKey, NotBefore: o.NotBefore, NotAfter: o.NotAfter, Owner: a.Owner, CSRHash: csr.Hash,
	}
	copy(req.Replaces[:], o.Replaced)
	return req
}

// issue calls the one door, with the order's changes of state attached.
func (s *Server) issue(ctx context.Context, q *request, o *order, all []*authorization, csr x509cert.CSR) error {
	req := s.issueRequest(q.account, o, csr)
	req.Principal.Evidence = q.evidence
	attach, err := s.attach(ctx, q.account, o, all, req)
	if err != nil {
		return err
	}
	_, err = s.authority.Issue(ctx, req, attach)
	var p *problem.Problem
	switch {
	case !errors.As(err, &p) || p.Kind != problem.Conflict:
		return err
	case p.Reason == "REQUEST_ID_REUSED":
		return refuse(OrderNotReady, "the order has been finalized with another key").because(err)
	}
	return errChanged
}

// errChanged: the order, the account or an authorization is no longer as it was
// read.
var errChanged = errors.New("changed meanwhile")

// attach are the order's changes: to processing with the reservation, on to valid
// with the certificate, or to invalid when it is given up.
func (s *Server) attach(ctx context.Context, a *account, o *order, all []*authorization, req identity.Request) (ca.Attach, error) {
	var attach ca.Attach
	key := req.Key()
	step := *o
	step.Intent = hex.EncodeToString(key[:])
	set := func(to *[]storage.Command, version uint64, status string, failure *Document) error {
		next := step
		next.version, next.Status, next.Error = version, status, failure
		put, err := next.put(s.now())
		*to = append(*to, put)
		return err
	}
	err := errors.Join(
		set(&attach.Reserve, o.version, statusProcessing, nil),
		set(&attach.Complete, o.version+1, statusValid, nil),
		set(&attach.Abandon, o.version+1, statusInvalid, abandoned()),
	)
	if err != nil {
		return attach, err
	}
	attach.Reserve = append(attach.Reserve, a.require())
	seen := map[string]bool{}
	for _, z := range all {
		if !seen[z.ID] {
			seen[z.ID] = true
			attach.Reserve = append(attach.Reserve, storage.RequireRecord{Collection: authzCollection, ID: z.ID, Version: z.version})
		}
	}
	if o.Replaces != "" {
		mark := replacedMark(o)
		attach.Reserve = append(attach.Reserve, mark)
		attach.Abandon = append(attach.Abandon, storage.DeleteRecord{Collection: replacedCollection, ID: mark.ID, IfVersion: storage.AnyVersion})
	}
	return attach, nil
}

// abandoned is the error of an order whose certificate was given up.
func abandoned() *Document {
	return &refuse(ServerInternal, "the certificate could not be signed; make a new order").Document
}

// Abandoned gives the commands for the order of an intent whose server has died:
// for ca.Config.Abandoned. While the order cannot be read, it gives a command that
// fails, so that the intent stays for the next sweep.
func Abandoned(store storage.RecordReader) func(storage.Certificate) []storage.Command {
	later := []storage.Command{storage.RequireRecord{Collection: orderCollection, ID: "unreadable", Version: 1}}
	return func(c storage.Certificate) []storage.Command {
		page, err := store.Records(context.Background(), orderCollection, indexIntent, hex.EncodeToString(c.Intent.RequestKey[:]), nil, 1)
		if err != nil {
			return later
		}
		if len(page.Records) == 0 {
			return nil
		}
		o, err := decodeOrder(page.Records[0])
		if err != nil {
			return later
		}
		if o.Status != statusProcessing {
			return nil
		}
		o.Status, o.Error = statusInvalid, abandoned()
		put, err := o.put(c.Deadline)
		if err != nil {
			return later
		}
		cmds := []storage.Command{put}
		if o.Replaces != "" {
			cmds = append(cmds, storage.DeleteRecord{Collection: replacedCollection, ID: replacedMark(o).ID, IfVersion: storage.AnyVersion})
		}
		return cmds
	}
}
