// Package bulk revokes what a filter selects: it says beforehand what would be
// hit, and works as an operation that goes on after a restart.
//
// An operation is a record with a place in the list of what it selects. It walks
// that list in the ledger's order; each step is one unit that revokes some
// certificates and moves the place, so that a kill at any point leaves each
// serial revoked once, and counted once. Certificates that are revoked or
// abandoned already, that have expired, or whose intent is at Order.Before or
// later, are left out. With the reason keyCompromise the keys of those that the
// filter selects before Order.Before are blocked even so.
package bulk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Store is what operations are kept in.
type Store interface {
	storage.Committer
	storage.RecordReader
	Head(ctx context.Context) (storage.Head, error)
}

// Config of an Operations.
type Config struct {
	Store     Store
	Authority *ca.Authority
	Inventory *inventory.Inventory
	// Step is how many certificates one unit revokes; 0: 100.
	Step   int
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
}

// Operations starts and carries out bulk revocations.
type Operations struct {
	cfg  Config
	wake chan struct{}
}

// New makes an Operations. Run carries out what is started.
func New(cfg Config) (*Operations, error) {
	if cfg.Store == nil || cfg.Authority == nil || cfg.Inventory == nil {
		return nil, errors.New("bulk: Store, Authority and Inventory are needed")
	}
	if cfg.Step <= 0 {
		cfg.Step = 100
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Operations{cfg: cfg, wake: make(chan struct{}, 1)}, nil
}

// Order says what is to be revoked, why and by whom.
type Order struct {
	// Filter is AIP-160 over those of the inventory's fields that never change: not
	// id, state, superseded and labels. Not empty.
	Filter string
	// Owners whose certificates are meant, of what the filter selects; nil: all.
	Owners    []string
	Reason    identity.RevocationReason
	Actor     string // as in the ledger: "method:ID"
	RequestID string // of the actor; the same order again is the same operation. Empty: none
	Before    uint64 // only intents of a lesser ledger index; 0: all there are now
}

// Operation is an order and how far it is.
type Operation struct {
	ID      string
	Order   Order
	Created time.Time
	Ended   time.Time // zero: under way
	Error   string    // why it ended, or why its last step failed and is tried again
	Radius  Radius    // counted at its beginning
	Revoked uint64
}

// Done tells whether it has ended.
func (o Operation) Done() bool { return !o.Ended.IsZero() }

const (
	collection   = "operation"
	indexState   = "state"
	stateRunning = "running"
	stateDone    = "done"
	keepDone     = 90 * 24 * time.Hour
)

// record is an Operation in the store.
type record struct {
	Filter  string                    `json:"filter"`
	Owners  []string                  `json:"owners,omitempty"` // nil: all
	Reason  identity.RevocationReason `json:"reason"`
	Actor   string                    `json:"actor"`
	Digest  []byte                    `json:"digest"` // of the order as it was given
	Before  uint64                    `json:"before"`
	Created time.Time                 `json:"created"`
	Ended   time.Time                 `json:"ended"`
	Error   string                    `json:"error,omitempty"`
	Counted bool                      `json:"counted"`
	Radius  Radius                    `json:"radius"`
	Revoked uint64                    `json:"revoked"`
	Place   string                    `json:"place"` // page token of what comes next
}

func (r record) operation(id string) Operation {
	return Operation{
		ID: id, Order: Order{Filter: r.Filter, Owners: r.Owners, Reason: r.Reason, Actor: r.Actor, Before: r.Before},
		Created: r.Created, Ended: r.Ended, Error: r.Error, Radius: r.Radius, Revoked: r.Revoked,
	}
}

func (r record) put(id string, version uint64) (storage.PutRecord, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return storage.PutRecord{}, fmt.Errorf("operation: %w", err)
	}
	put := storage.PutRecord{Collection: collection, ID: id, IfVersion: version, Body: body}
	state := stateRunning
	if !r.Ended.IsZero() {
		state, put.Expires = stateDone, r.Ended.Add(keepDone)
	}
	put.Indexes = []storage.RecordIndex{{Name: indexState, Value: state}}
	return put, nil
}

// Start begins an operation, which Run carries out. An order that is malformed,
// and one whose request ID stands for another order, is a *problem.Problem.
func (o *Operations) Start(ctx context.Context, order Order) (Operation, error) {
	if err := o.check(ctx, order); err != nil {
		return Operation{}, err
	}
	head, err := o.cfg.Store.Head(ctx)
	if err != nil {
		return Operation{}, fmt.Errorf("operation: %w", err)
	}
	text := fmt.Appendf(nil, "%d %d %s", order.Reason, order.Before, order.Filter)
	if order.Owners != nil {
		text = fmt.Appendf(text, " %q", order.Owners)
	}
	digest := sha256.Sum256(text)
	r := record{
		Filter: order.Filter, Owners: order.Owners, Reason: order.Reason, Actor: order.Actor, Digest: digest[:],
		Before: head.Size, Created: o.cfg.Now().UTC(),
	}
	if order.Before > 0 {
		r.Before = min(order.Before, head.Size)
	}
	id := newID(order)
	put, err := r.put(id, 0)
	if err != nil {
		return Operation{}, err
	}
	action, err := started(id, r)
	if err != nil {
		return Operation{}, err
	}
	_, err = o.cfg.Store.Commit(ctx, append(action, put))
	if errors.Is(err, storage.ErrConflict) {
		return o.repeated(ctx, id, digest[:])
	}
	if err != nil {
		return Operation{}, fmt.Errorf("operation: %w", err)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return r.operation(id), nil
}

// check holds an order's form; the inventory judges the filter.
func (o *Operations) check(ctx context.Context, order Order) error {
	if strings.TrimSpace(order.Filter) == "" {
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter", Detail: "the filter is empty: it would revoke everything",
			Help: `Name what is meant, such as owner = "team-a".`,
		}
	}
	if _, err := identity.ParseRevocationReason(order.Reason.String()); err != nil {
		return &problem.Problem{Kind: problem.Malformed, Reason: "REVOCATION_REASON", Rule: "reason", Detail: err.Error()}
	}
	if err := lasting(order.Filter); err != nil {
		return err
	}
	_, err := o.cfg.Inventory.Search(ctx, inventory.Question{Filter: order.Filter, OrderBy: walk, PageSize: 1})
	return err
}

// lasting refuses a filter over what may change between what is shown and what is
// done: it could revoke what nobody was shown.
func lasting(filter string) error {
	changing, err := inventory.Changing(filter)
	if err != nil || len(changing) == 0 {
		return err
	}
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter", Value: fmt.Sprintf("%.64s", changing[0]),
		Detail: fmt.Sprintf("%.64s may change after the certificates were shown: a bulk revocation cannot select by it", changing[0]),
		Help: "Select by what stays: owner, name, serial, spki_sha256, requester, issuer, profile, policy_version, create_time, not_after. " +
			"What is revoked, abandoned or expired is left out in any case, and what is issued after the preview too (before_index).",
	}
}

func newID(order Order) string {
	if order.RequestID == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		return hex.EncodeToString(id[:])
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(order.Actor), order.Actor, order.RequestID))
	return hex.EncodeToString(sum[:16])
}

// started is the operation's entry in the ledger. The filter may name people: it
// stands there as a commitment.
func started(id string, r record) (storage.Unit, error) {
	filter := storage.PutErasable{Value: []byte(r.Filter)}
	_, _ = rand.Read(filter.Salt[:]) // never fails
	filter.Commitment = entry.Commit(filter.Salt, filter.Value)
	draft, err := entry.Action{
		Action: "certificates.bulk-revocation", Target: id, Commitments: [][32]byte{filter.Commitment},
		Detail: fmt.Sprintf("reason %s, of the entries before %d", r.Reason, r.Before),
	}.Draft(r.Actor)
	if err != nil {
		return nil, err
	}
	return storage.Unit{storage.AppendEntry{Entry: draft}, filter}, nil
}

// repeated answers for a request ID that was used before.
func (o *Operations) repeated(ctx context.Context, id string, digest []byte) (Operation, error) {
	r, _, err := o.read(ctx, id)
	if err != nil {
		return Operation{}, err
	}
	if string(r.Digest) != string(digest) {
		return Operation{}, &problem.Problem{
			Kind: problem.Conflict, Reason: "REQUEST_ID_REUSED", Rule: "request_id",
			Detail: "the request ID stands for another request of the same caller", Help: "Use a new request ID for a new request.",
		}
	}
	return r.operation(id), nil
}

// NotFound is the answer about an operation that is not there for the caller.
func NotFound(id string) error {
	return &problem.Problem{Kind: problem.NotFound, Value: fmt.Sprintf("%.64s", id), Detail: "there is no such operation"}
}

// Get is an operation by its ID; NotFound.
func (o *Operations) Get(ctx context.Context, id string) (Operation, error) {
	r, _, err := o.read(ctx, id)
	return r.operation(id), err
}

func (o *Operations) read(ctx context.Context, id string) (record, uint64, error) {
	missing := NotFound(id)
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return record{}, 0, missing
	}
	stored, err := o.cfg.Store.Record(ctx, collection, id)
	if errors.Is(err, storage.ErrNotFound) {
		return record{}, 0, missing
	}
	if err != nil {
		return record{}, 0, fmt.Errorf("operation %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(stored.Body, &r); err != nil {
		return record{}, 0, fmt.Errorf("operation %s: %w", id, err)
	}
	return r, stored.Version, nil
}
