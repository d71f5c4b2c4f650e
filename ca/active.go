package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// ActivePolicy is the document in force, read before the issuers that it names
// are opened and OpenPolicies can compile it. storage.ErrNotFound if there is
// none yet.
func ActivePolicy(ctx context.Context, store storage.RecordReader) ([]byte, error) {
	rec, err := store.Record(ctx, activeCollection, activeID)
	if err != nil {
		return nil, fmt.Errorf("active policy: %w", err)
	}
	var active activeRecord
	if err := json.Unmarshal(rec.Body, &active); err != nil {
		return nil, fmt.Errorf("active policy: %w", err)
	}
	rec, err = store.Record(ctx, versionCollection, versionID(active.Number))
	if err != nil {
		return nil, fmt.Errorf("active policy: version %d: %w", active.Number, err)
	}
	var v versionRecord
	if err := json.Unmarshal(rec.Body, &v); err != nil {
		return nil, fmt.Errorf("active policy: version %d: %w", active.Number, err)
	}
	return v.Document, nil
}

// policyReader reads policies and the entries of their activations.
type policyReader interface {
	storage.LedgerReader
	storage.RecordReader
}

// activated refuses a policy in force that the ledger does not know of, or that is
// not the newest: the records have only checksums, which anybody can compute.
func activated(ctx context.Context, store policyReader, v Version) error {
	e, err := ledger.Proven(ctx, store, v.Entry)
	if err != nil {
		return notActivated(v, err)
	}
	change, err := entry.ParsePolicyChange(e.Draft)
	if err != nil {
		return notActivated(v, fmt.Errorf("entry %d: %w", v.Entry, err))
	}
	if change.Hash() != v.Hash {
		return notActivated(v, fmt.Errorf("entry %d activates the policy %x", v.Entry, change.Hash()))
	}
	page, err := store.Records(ctx, versionCollection, "", "", nil, 1)
	if err != nil {
		return fmt.Errorf("policy versions: %w", err)
	}
	if len(page.Records) > 0 && page.Records[0].ID != versionID(v.Number) {
		return notActivated(v, errors.New("there is a newer version"))
	}
	return nil
}

func notActivated(v Version, err error) error {
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "POLICY_NOT_ACTIVATED", Err: err,
		Detail: fmt.Sprintf("the policy in force (version %d, %x) is not the one that the ledger says was activated last: %v", v.Number, v.Hash, err),
		Help:   "the database was changed: run \"certwright ledger verify\" and compare it with a backup",
	}
}
