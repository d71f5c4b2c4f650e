package ca

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage"
)

// Attach carries the commands that stand or fall with an issuance: the state of
// an ACME order, the use of a join token.
type Attach struct {
	Reserve  []storage.Command // with the intent (step 5)
	Complete []storage.Command // with the completion (step 7)
	Abandon  []storage.Command // when the intent is given up
	// Decided gives what depends on the decision, to be added to the three; its
	// error, a *problem.Problem, refuses the request. nil: nothing does.
	Decided func(context.Context, policy.Decision) (Attach, error)
}

// with is a with what depends on the decision.
func (a Attach) with(ctx context.Context, d policy.Decision) (Attach, error) {
	if a.Decided == nil {
		return a, nil
	}
	more, err := a.Decided(ctx, d)
	return Attach{
		Reserve: slices.Concat(a.Reserve, more.Reserve), Complete: slices.Concat(a.Complete, more.Complete), Abandon: slices.Concat(a.Abandon, more.Abandon),
	}, err
}

// Issued is a certificate that may be handed out.
type Issued struct {
	Certificate storage.Certificate // its Index is its place in the ledger
	Chain       [][]byte            // DER, from the issuer's certificate upwards, without the root
	Issuer      string              // name
	Repeated    bool                // it is the certificate of the same request before
}

// Point is a place in Issue at which a test can make the server die.
type Point string

// The points, in the order in which Issue reaches them.
const (
	PointChecked   Point = "checked"   // before step 5: nothing is durable
	PointReserved  Point = "reserved"  // after step 5: the intent is durable
	PointSigned    Point = "signed"    // after step 6: there is a signature
	PointCompleted Point = "completed" // after step 7: the certificate is durable, not delivered
)

// Issue is the one path by which a certificate comes into being, for every door
// and every kind of caller. Its steps are those of docs/issuance.md.
//
// The error is a *problem.Problem: Denied with every broken rule, Conflict if
// the request ID stands for another request, PermissionDenied with reason
// TOKEN_SPENT, Overloaded or Unavailable if a repetition may succeed. ctx ends
// what has left no trace; from step 5 on the issuance is brought to its end
// whatever becomes of the caller, within Config.Deadline.
//
// A policy that is activated between the decision and the reservation has the
// last word: the request is decided again under it, once.
func (a *Authority) Issue(ctx context.Context, req identity.Request, attach Attach) (Issued, error) {
	issued, err := a.issue(ctx, req, attach)
	if errors.Is(err, errPolicyChanged) {
		issued, err = a.issue(ctx, req, attach)
	}
	return issued, a.refused(req, err)
}

// issue is Issue under one policy.
func (a *Authority) issue(ctx context.Context, req identity.Request, attach Attach) (Issued, error) {
	// 1, 2. Already issued? Else decide.
	b, err := a.begin(ctx, req)
	if err != nil {
		return Issued{}, err
	}
	if b.again.Repeated {
		a.counters.repeated.Add(1)
		return b.again, nil
	}
	is := b.is
	if attach, err = attach.with(ctx, b.decision); err != nil {
		return Issued{}, err
	}

	// 3. Draft the TBSCertificate, with its serial and its CRL shard.
	d, err := a.draft(req, b.decision, is, b.now)
	if err != nil {
		return Issued{}, err
	}

	// 4. Check the draft: compare it with the request, lint it. What comes back
	// can be signed once.
	checked, err := a.check(d)
	if err != nil {
		return Issued{}, err
	}
	if err := a.reach(PointChecked); err != nil {
		return Issued{}, err
	}

	// 5. Reserve: the intent with the full TBS, durable before the next step.
	in, err := a.reserve(ctx, d, checked.TBS(), attach)
	if errors.Is(err, storage.ErrDuplicateRequest) {
		return a.raced(ctx, req)
	}
	if err != nil {
		return Issued{}, err
	}
	if err := a.reach(PointReserved); err != nil {
		return Issued{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.deadline)
	defer cancel()

	// 6. Sign, once; what is signed is what is logged, and it verifies.
	der, err := a.sign(ctx, in, checked, attach)
	if err != nil {
		return Issued{}, err
	}
	if err := a.reach(PointSigned); err != nil {
		return Issued{}, err
	}

	// 7. Complete: reserved → issued, durable before the next step.
	if err := a.complete(ctx, in, der, attach); err != nil {
		return Issued{}, err
	}
	if err := a.reach(PointCompleted); err != nil {
		return Issued{}, err
	}

	// 8. Return the certificate, its chain and its ledger index.
	in.row.State, in.row.DER, in.row.Fingerprint = storage.Issued, der, sha256.Sum256(der)
	in.row.Incarnation, in.row.Deadline = storage.Incarnation{}, time.Time{}
	a.counters.issued.Add(1)
	return Issued{Certificate: in.row, Chain: is.chain, Issuer: is.Name}, nil
}

// begun is a request after steps 1 and 2: issued before, or decided.
type begun struct {
	again    Issued // Repeated, or nothing
	decision policy.Decision
	is       *issuer
	now      time.Time
}

// begin is steps 1 and 2, for Issue and for Preview.
func (a *Authority) begin(ctx context.Context, req identity.Request) (begun, error) {
	// 1. Already issued for this (principal, request ID)? Same digest: return
	// it. Another digest: conflict.
	if again, found, err := a.repeated(ctx, req); err != nil || found {
		return begun{again: again}, err
	}

	// 2. Decide: profile and bounds, or every broken rule; nothing while signing is
	// held.
	if err := a.hold(); err != nil {
		return begun{}, err
	}
	b := begun{now: a.now()}
	var err error
	b.decision, b.is, err = a.decide(ctx, req, b.now)
	return b, err
}

// reach is a fault point.
func (a *Authority) reach(p Point) error {
	if a.fault == nil {
		return nil
	}
	return a.fault(p)
}

// refused makes err a problem, counts it and keeps it among the refusals.
func (a *Authority) refused(req identity.Request, err error) error {
	if err == nil {
		return nil
	}
	p := asProblem(err)
	if len(p.Violations) == 0 {
		a.counters.addRefused(p.Code())
	}
	for _, v := range p.Violations {
		a.counters.addRefused(v.Reason)
	}
	if a.refusals != nil {
		a.refusals.Note(NewRefusal(req, p, a.now()))
	}
	return p
}
