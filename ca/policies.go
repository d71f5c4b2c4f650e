package ca

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const (
	activeCollection  = "policy"
	activeID          = "active"
	versionCollection = "policy-version"
	versionByHash     = "hash"
)

// PoliciesConfig of a Policies.
type PoliciesConfig struct {
	Store interface {
		storage.Committer
		storage.LedgerReader
		storage.RecordReader
	}
	Issuers []policy.Issuer
	// Openable says whether a server could start with the issuers that a document
	// names: the store's policy is the truth at the next start. nil: not asked.
	Openable func(*policy.Document) error
	System   policy.System
	// ServerKey is the key for which System asks; nil: an ECDSA key on P-256.
	ServerKey crypto.PublicKey
	// First is activated if the store has no policy yet; File is its name in
	// messages.
	First []byte
	File  string
	Now   func() time.Time // nil: time.Now
	// Logger is told the warnings of a policy that comes into force; nil:
	// slog.Default.
	Logger *slog.Logger
}

// Policies is the policy in force and its history. The store is the truth: a
// document rules from the commit of its activation on, which is also its entry
// in the ledger.
type Policies struct {
	cfg     PoliciesConfig
	linter  func() (*x509cert.Linter, error) // made at the first document that is judged
	current atomic.Pointer[inForce]
	mu      sync.Mutex // one activation at a time
}

// inForce is one activation; never changed.
type inForce struct {
	activeRecord
	engine *policy.Engine
	stored uint64 // version of the active record
}

// Version is one activation of a policy document.
type Version struct {
	Number   uint64 // 1, 2, …
	Hash     [32]byte
	Time     time.Time // of its activation
	Actor    string    // who activated it
	Entry    uint64    // ledger index of its activation
	Document []byte    // nil in lists
	Active   bool      // in force
}

type activeRecord struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash"`
}

type versionRecord struct {
	Number   uint64    `json:"number"`
	Hash     string    `json:"hash"`
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	Document []byte    `json:"document"`
}

// OpenPolicies loads the policy in force, or activates cfg.First as the first.
func OpenPolicies(ctx context.Context, cfg PoliciesConfig) (*Policies, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Policies{cfg: cfg, linter: sync.OnceValues(x509cert.NewLinter)}
	p.current.Store(&inForce{})
	err := p.load(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		_, err = p.Apply(ctx, cfg.First, "system:server")
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// load takes the active version from the store.
func (p *Policies) load(ctx context.Context) error {
	rec, err := p.cfg.Store.Record(ctx, activeCollection, activeID)
	if err != nil {
		return fmt.Errorf("active policy: %w", err)
	}
	var active activeRecord
	if err := json.Unmarshal(rec.Body, &active); err != nil {
		return fmt.Errorf("active policy: %w", err)
	}
	v, err := p.read(ctx, active.Number)
	if err != nil {
		return fmt.Errorf("active policy: version %d: %w", active.Number, err)
	}
	engine, err := p.compile(v.Document)
	if err != nil {
		return fmt.Errorf("active policy: version %d cannot be used with this server's issuers: %w", active.Number, err)
	}
	if hex.EncodeToString(v.Hash[:]) != active.Hash || engine.Hash() != v.Hash {
		return fmt.Errorf("active policy: version %d is not the document that was activated", active.Number)
	}
	if err := activated(ctx, p.cfg.Store, v); err != nil {
		return err
	}
	p.current.Store(&inForce{activeRecord: active, engine: engine, stored: rec.Version})
	return nil
}

// judge compiles a document that is to come into force.
func (p *Policies) judge(data []byte) (*policy.Engine, error) {
	engine, err := p.compile(data)
	if err != nil {
		return nil, err
	}
	if err := p.judgeOwn(engine); err != nil {
		return nil, err
	}
	if p.cfg.Openable == nil {
		return engine, nil
	}
	if err := p.cfg.Openable(engine.Document()); err != nil {
		return nil, &problem.Problem{
			Kind: problem.Malformed, Reason: "ISSUER_NOT_OPEN", Rule: "issuers",
			Detail: "the server could not start with this policy: " + err.Error(),
			Help:   "put the key and the certificate in place first",
		}
	}
	return engine, nil
}

func (p *Policies) compile(data []byte) (*policy.Engine, error) {
	return policy.New(policy.Config{File: p.cfg.File, Data: data, Issuers: p.cfg.Issuers, System: p.cfg.System})
}

// Check is Apply's judgement of a document, and activates nothing. The error is
// Malformed with every fault.
func (p *Policies) Check(data []byte) error {
	_, err := p.judge(data)
	return err
}

// Engine is the policy in force.
func (p *Policies) Engine() *policy.Engine { return p.current.Load().engine }

// InForce is the precondition that the policy with this hash is in force, for
// the unit of a reservation. The error is errPolicyChanged if it is not any more.
func (p *Policies) InForce(hash [32]byte) (storage.Command, error) {
	current := p.current.Load()
	if current.Hash != hex.EncodeToString(hash[:]) {
		return nil, errPolicyChanged
	}
	return storage.RequireRecord{Collection: activeCollection, ID: activeID, Version: current.stored}, nil
}

// Apply activates a document: checked, then recorded in the ledger, then in
// force. The document that is in force already is not activated again: its
// version is returned. Errors: Malformed with every fault; Conflict if another
// server has activated one meanwhile.
func (p *Policies) Apply(ctx context.Context, data []byte, actor string) (Version, error) {
	engine, err := p.judge(data)
	if err != nil {
		return Version{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was, hash := p.current.Load(), engine.Hash()
	text := hex.EncodeToString(hash[:])
	if was.Hash == text {
		return p.read(ctx, was.Number)
	}
	draft, err := entry.Policy{Document: data}.Draft(actor)
	if err != nil {
		return Version{}, &problem.Problem{Kind: problem.Malformed, Detail: "the policy cannot be recorded", Err: err}
	}
	next := activeRecord{Number: was.Number + 1, Hash: text}
	v := versionRecord{Number: next.Number, Hash: text, Time: p.cfg.Now().UTC(), Actor: actor, Document: data}
	records, err := activation(next, v, was.stored)
	if err != nil {
		return Version{}, err
	}
	receipt, err := p.cfg.Store.Commit(ctx, append(storage.Unit{storage.AppendEntry{Entry: draft}}, records...))
	if errors.Is(err, storage.ErrConflict) {
		return Version{}, &problem.Problem{
			Kind: problem.Conflict, Reason: "POLICY_CHANGED", Detail: "another policy was activated meanwhile", Err: err,
			Help: "look at the policy in force and apply again",
		}
	}
	if err != nil {
		return Version{}, storeProblem(err)
	}
	p.current.Store(&inForce{activeRecord: next, engine: engine, stored: was.stored + 1})
	for _, warning := range engine.Warnings() {
		p.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a part of the policy has no effect",
			slog.Uint64("version", next.Number), slog.String("warning", warning))
	}
	return p.version(v, receipt.Indexes[0])
}

// activation writes, after its entry, the two records: the version, and that it is active if the
// active record still stands at version stored.
func activation(next activeRecord, v versionRecord, stored uint64) (storage.Unit, error) {
	active, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	version, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return storage.Unit{
		storage.PutRecord{Collection: activeCollection, ID: activeID, IfVersion: stored, Body: active},
		storage.PutRecord{
			Collection: versionCollection, ID: versionID(v.Number), Body: version,
			Indexes: []storage.RecordIndex{{Name: versionByHash, Value: v.Hash}}, WithEntry: true,
		},
	}, nil
}

// versionID sorts the newest first.
func versionID(number uint64) string { return fmt.Sprintf("%016x", ^number) }

func (p *Policies) read(ctx context.Context, number uint64) (Version, error) {
	rec, err := p.cfg.Store.Record(ctx, versionCollection, versionID(number))
	if err != nil {
		return Version{}, err
	}
	return p.decode(rec)
}

func (p *Policies) decode(rec storage.Record) (Version, error) {
	var v versionRecord
	if err := json.Unmarshal(rec.Body, &v); err != nil {
		return Version{}, fmt.Errorf("policy version %s: %w", rec.ID, err)
	}
	return p.version(v, rec.Entry)
}

func (p *Policies) version(v versionRecord, index uint64) (Version, error) {
	hash, err := hex.DecodeString(v.Hash)
	if err != nil || len(hash) != 32 {
		return Version{}, fmt.Errorf("policy version %d: hash is not well-formed", v.Number)
	}
	return Version{
		Number: v.Number, Hash: [32]byte(hash), Time: v.Time, Actor: v.Actor, Document: v.Document,
		Entry: index, Active: v.Number == p.current.Load().Number,
	}, nil
}

// Versions is a page of the history, newest first, without the documents. after
// is the next of the page before; next is nil on the last page.
func (p *Policies) Versions(ctx context.Context, after []byte, limit int) (list []Version, next []byte, err error) {
	page, err := p.cfg.Store.Records(ctx, versionCollection, "", "", after, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("policy versions: %w", err)
	}
	for _, rec := range page.Records {
		v, err := p.decode(rec)
		if err != nil {
			return nil, nil, err
		}
		v.Document = nil
		list = append(list, v)
	}
	return list, page.Next, nil
}

// Version is the newest activation of the document with this SHA-256; NotFound
// if it was never activated.
func (p *Policies) Version(ctx context.Context, hash [32]byte) (Version, error) {
	text := hex.EncodeToString(hash[:])
	page, err := p.cfg.Store.Records(ctx, versionCollection, versionByHash, text, nil, 1)
	if err != nil {
		return Version{}, fmt.Errorf("policy version: %w", err)
	}
	if len(page.Records) == 0 {
		return Version{}, &problem.Problem{Kind: problem.NotFound, Value: text, Detail: "no such policy was ever activated"}
	}
	return p.decode(page.Records[0])
}
