package ca

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const (
	maxRequestID = 255
	maxLabels    = 32
	maxLabel     = 1024 // octets of "key=value"
	retryWait    = 5 * time.Millisecond
)

// errPolicyChanged: another policy is in force than the one that decided.
var errPolicyChanged = &problem.Problem{
	Kind: problem.Unavailable, Reason: "POLICY_CHANGED", Detail: "the policy changed while the request was under way", Help: "try again",
}

// drafted is a draft with what it was made from.
type drafted struct {
	want  x509cert.Want
	is    *issuer
	tbs   []byte
	shard uint16
	now   time.Time
}

// intent is a reserved issuance: the row as it stands in the store.
type intent struct {
	row storage.Certificate
	is  *issuer
}

// decide is step 2: the request's form, its key, the policy, the issuer.
func (a *Authority) decide(ctx context.Context, req identity.Request, now time.Time) (policy.Decision, *issuer, error) {
	if err := checkForm(req); err != nil {
		return policy.Decision{}, nil, err
	}
	if err := keys.CheckPublic(req.PublicKey); err != nil {
		return policy.Decision{}, nil, err
	}
	if err := a.own.check(req); err != nil {
		return policy.Decision{}, nil, err
	}
	decision, err := a.policy().Decide(req, now)
	if err = a.blockedToo(ctx, req.PublicKey, err); err != nil {
		return policy.Decision{}, nil, err
	}
	is := a.byName[decision.Issuer]
	if is == nil || is.State != Active || is.Signer == nil {
		return policy.Decision{}, nil, &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "ISSUER_NOT_ACTIVE", Rule: "profile " + req.Profile, Value: decision.Issuer,
			Detail: "the profile's issuer cannot issue at this time", Help: "see the issuers and their states",
		}
	}
	return decision, is, nil
}

// checkForm holds the promises of identity.Request that the steps rely on.
func checkForm(req identity.Request) error {
	malformed := func(reason, format string, args ...any) error {
		p := problem.New(problem.Malformed, format, args...)
		p.Reason = reason
		return p
	}
	switch {
	case req.Kind != identity.X509:
		return malformed("KIND", "certificates of kind %.32q are not issued", req.Kind)
	case len(req.ID) > maxRequestID:
		return malformed("REQUEST_ID", "the request ID has %d octets: %d are allowed", len(req.ID), maxRequestID)
	case len(req.Identifiers) == 0:
		return malformed("NO_NAMES", "the request has no names")
	case len(req.Identifiers) > x509cert.MaxNames:
		return malformed("TOO_MANY_NAMES", "the request has %d names: %d are allowed", len(req.Identifiers), x509cert.MaxNames)
	case len(req.Labels) > maxLabels:
		return malformed("LABELS", "the request has %d labels: %d are allowed", len(req.Labels), maxLabels)
	}
	for k, v := range req.Labels {
		if k == "" || len(k)+1+len(v) > maxLabel {
			return malformed("LABELS", "label %.32q is empty or longer than %d octets", k, maxLabel)
		}
	}
	set, err := identity.CanonicalSet(req.Identifiers)
	if err != nil {
		return &problem.Problem{Kind: problem.RejectedIdentifier, Reason: "NAME_FORM", Rule: "canonical names", Detail: err.Error()}
	}
	if !slices.Equal(set, req.Identifiers) {
		return &problem.Problem{Kind: problem.Internal, Err: errors.New("request: names are not a canonical set")}
	}
	return nil
}

// draft is step 3. The CRL shard comes from the serial's random octets and is
// stored with the certificate.
func (a *Authority) draft(req identity.Request, decision policy.Decision, is *issuer, now time.Time) (drafted, error) {
	serial := identity.NewSerial(now)
	shard := uint16(binary.BigEndian.Uint64(serial.Random()[2:]) % a.shards)
	d := drafted{is: is, shard: shard, now: now, want: x509cert.Want{
		Request: req, Decision: decision, Serial: serial, Issuer: is.signing, URLs: a.urls(is, shard),
	}}
	var err error
	if d.tbs, err = x509cert.Draft(d.want); err != nil {
		return drafted{}, fmt.Errorf("draft: %w", err)
	}
	return d, nil
}

// urls are what certificates of an issuer name; none without a base.
func (a *Authority) urls(is *issuer, shard uint16) x509cert.URLs {
	if a.base == "" {
		return x509cert.URLs{}
	}
	name := url.PathEscape(is.Name)
	return x509cert.URLs{
		OCSP:      a.base + "/ocsp",
		CAIssuers: a.base + "/ca/" + name + ".crt",
		CRL:       a.crlURL(is, shard),
	}
}

// crlURL is where the CRL of a shard is: in its certificates and, word for word,
// in the CRL itself (RFC 5280 §5.2.5).
func (a *Authority) crlURL(is *issuer, shard uint16) string {
	if a.base == "" {
		return ""
	}
	return a.base + crlPath(is.Name, shard)
}

func crlPath(issuer string, shard uint16) string {
	return fmt.Sprintf("/crl/%s/%d.crl", url.PathEscape(issuer), shard)
}

// check is step 4.
func (a *Authority) check(d drafted) (*x509cert.Checked, error) {
	return a.linter.Check(d.tbs, d.want)
}

// reserve is step 5.
func (a *Authority) reserve(ctx context.Context, d drafted, tbs []byte, attach Attach) (intent, error) {
	req, decision := d.want.Request, d.want.Decision
	spki, err := identity.KeyIDOf(req.PublicKey)
	if err != nil {
		return intent{}, err
	}
	body := entry.Intent{
		Issuer: d.is.keyID, Profile: decision.Profile.Name, Policy: decision.Policy, Grant: decision.Grant,
		Evidence: req.Principal.Evidence, Owner: decision.Owner, CSR: req.CSRHash, TBS: tbs, RequestKey: req.Key(), Replaces: req.Replaces,
	}
	if req.ID != "" {
		if body.RequestDigest, err = req.Digest(); err != nil {
			return intent{}, err
		}
	}
	var labels []storage.Command
	body.Labels, labels = commitLabels(req.Labels)
	requester := req.Principal.String()
	draft, err := body.Draft(requester)
	if err != nil {
		return intent{}, &problem.Problem{Kind: problem.Malformed, Reason: "NOT_RECORDABLE", Detail: "the request cannot be recorded in the ledger", Err: err}
	}
	reserve := storage.ReserveIssuance{
		Entry: draft, Issuer: d.is.keyID, Serial: d.want.Serial, Names: req.Identifiers, SPKI: spki,
		NotBefore: decision.NotBefore, NotAfter: decision.NotAfter, CRLShard: d.shard,
		Incarnation: a.incarnation, Deadline: d.now.Add(a.deadline).UTC().Truncate(time.Millisecond),
	}
	receipt, err := a.commitUnder(ctx, decision.Policy, slices.Concat(storage.Unit{reserve, notBlocked(spki)}, labels, attach.Reserve))
	if errors.Is(err, storage.ErrConflict) { // perhaps the key was blocked meanwhile
		err = a.blockedToo(ctx, req.PublicKey, err)
	}
	if err != nil {
		return intent{}, err
	}
	return intent{is: d.is, row: storage.Certificate{
		Issuer: reserve.Issuer, Serial: reserve.Serial, Index: receipt.Indexes[0], Time: receipt.Time, Requester: requester,
		Intent: body, State: storage.Reserved, Names: reserve.Names, SPKI: spki, NotBefore: reserve.NotBefore,
		NotAfter: reserve.NotAfter, CRLShard: d.shard, Incarnation: a.incarnation, Deadline: reserve.Deadline,
	}}, nil
}

// commitUnder commits a reservation that the policy with this hash allows, if it
// is in force at that moment; else errPolicyChanged.
func (a *Authority) commitUnder(ctx context.Context, policy [32]byte, unit storage.Unit) (storage.Receipt, error) {
	if a.inForce != nil {
		precondition, err := a.inForce(policy)
		if err != nil {
			return storage.Receipt{}, err
		}
		unit = append(storage.Unit{precondition}, unit...)
	}
	receipt, err := a.store.Commit(ctx, unit)
	switch {
	case err == nil || errors.Is(err, storage.ErrDuplicateRequest):
		return receipt, err
	case errors.Is(err, storage.ErrConflict) && a.policy().Hash() != policy:
		return receipt, errPolicyChanged
	}
	return receipt, storeProblem(err)
}

// commitLabels makes of each label "key=value" a commitment for the ledger and
// the erasable value behind it, by key.
func commitLabels(labels map[string]string) ([][32]byte, []storage.Command) {
	var commitments [][32]byte
	var cmds []storage.Command
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		cmd := storage.PutErasable{Value: []byte(k + "=" + labels[k])}
		_, _ = rand.Read(cmd.Salt[:]) // never fails
		cmd.Commitment = entry.Commit(cmd.Salt, cmd.Value)
		commitments = append(commitments, cmd.Commitment)
		cmds = append(cmds, cmd)
	}
	return commitments, cmds
}

// sign is step 6. A signing error abandons the intent at once; a signature that
// does not hold is also revoked, for it exists.
func (a *Authority) sign(ctx context.Context, in intent, checked *x509cert.Checked, attach Attach) ([]byte, error) {
	der, err := checked.Sign()
	if err != nil {
		a.giveUp(ctx, in.row, entry.ReasonSigningFailed, attach.Abandon, false)
		return nil, &problem.Problem{
			Kind: problem.Unavailable, Reason: "SIGNING_FAILED", Detail: "the issuer's key did not sign", Help: "try again", Err: err,
		}
	}
	if err := checked.Verify(der); err != nil {
		a.giveUp(ctx, in.row, entry.ReasonSigningFailed, attach.Abandon, true)
		return nil, &problem.Problem{Kind: problem.Internal, Reason: "SIGNATURE_DIFFERS", Err: err}
	}
	return der, nil
}

// complete is step 7. Who finds the intent revoked or abandoned discards what
// has been signed.
func (a *Authority) complete(ctx context.Context, in intent, der []byte, attach Attach) error {
	unit := slices.Concat(storage.Unit{storage.CompleteIssuance{
		Issuer: in.row.Issuer, Serial: in.row.Serial, Certificate: der,
	}}, attach.Complete)
	_, err := a.commitPatiently(ctx, unit)
	if err == nil {
		return nil
	}
	if !errors.Is(err, storage.ErrUnknownOutcome) && !errors.Is(err, storage.ErrReadOnly) {
		a.giveUp(ctx, in.row, a.reasonNow(ctx, in.row), attach.Abandon, true)
	}
	return storeProblem(err)
}

// reasonNow is why an intent that could not be completed is given up.
func (a *Authority) reasonNow(ctx context.Context, row storage.Certificate) string {
	if now, err := a.store.BySerial(ctx, row.Issuer, row.Serial); err == nil && now.Revocation != nil {
		return entry.ReasonRevoked
	}
	return entry.ReasonCanceled
}

// commitPatiently waits while the store is overloaded: what is reserved must
// come to an end, and what is revoked is not refused. ctx bounds it.
func (a *Authority) commitPatiently(ctx context.Context, unit storage.Unit) (storage.Receipt, error) {
	for {
		receipt, err := a.store.Commit(ctx, unit)
		if !errors.Is(err, storage.ErrOverloaded) {
			return receipt, err
		}
		timer := time.NewTimer(retryWait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return storage.Receipt{}, err
		}
	}
}

// giveUp abandons an intent, and revokes it if there may be a signature. What
// cannot be done is done by the sweep of Run after the deadline.
func (a *Authority) giveUp(ctx context.Context, row storage.Certificate, reason string, attached []storage.Command, revoke bool) {
	err := a.abandon(ctx, row, reason, attached, revoke)
	if err != nil && !errors.Is(err, storage.ErrConflict) { // a conflict: somebody else was first
		a.logger.LogAttrs(ctx, slog.LevelError, "intent not abandoned; it will be after its deadline",
			slog.String("serial", row.Serial.String()), slog.Uint64("index", row.Index), slog.Any("error", err))
	}
}
