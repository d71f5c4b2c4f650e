package ca

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// policyCheck matches the records of policies with the entries of their
// activations, one to one: version n is the n-th.
type policyCheck struct {
	changes  []change
	known    map[[32]byte]bool // the hashes in changes
	versions []stored
	active   *stored
}

// change is a policy-change entry.
type change struct {
	index uint64
	hash  [32]byte
	actor string
}

// stored is what remains of a record: a version, or that a version is active.
type stored struct {
	versionRecord        // without the document
	entry         uint64 // ledger index, of a version
	err           error  // the record is not as Policies writes it
}

// CheckPolicies matches the policy in force and its history with the ledger: each
// document with the entry of its activation, the one in force with the last, and
// each intent with an earlier one.
func CheckPolicies() ledger.RecordCheck { return &policyCheck{known: map[[32]byte]bool{}} }

func (c *policyCheck) Collections() []string { return []string{activeCollection, versionCollection} }

func (c *policyCheck) Entry(index uint64, e entry.Entry, body entry.Body) error {
	var decided [32]byte
	switch b := body.(type) {
	case entry.Policy:
		hash := b.Hash()
		c.changes = append(c.changes, change{index, hash, e.Actor})
		c.known[hash] = true
		return nil
	case entry.Intent:
		decided = b.Policy
	case entry.SSH:
		decided = b.Policy
	default:
		return nil
	}
	if !c.known[decided] {
		return fmt.Errorf("it was decided by the policy %x, which no entry before it has activated", decided)
	}
	return nil
}

func (c *policyCheck) Record(collection string, r storage.Record) {
	s := stored{entry: r.Entry}
	if collection == activeCollection {
		var a activeRecord
		s.err = exactly(r.Body, &a)
		s.Number, s.Hash = a.Number, a.Hash
		if r.ID != activeID {
			s.err = fmt.Errorf("there is a record %q", r.ID)
		}
		if c.active == nil || s.err != nil {
			c.active = &s
		}
		return
	}
	s.err = exactly(r.Body, &s.versionRecord)
	if sum := sha256.Sum256(s.Document); s.err == nil && hex.EncodeToString(sum[:]) != s.Hash {
		s.err = fmt.Errorf("its document has the SHA-256 %x, not %s", sum, s.Hash)
	}
	if s.err == nil && (s.Number == 0 || r.ID != versionID(s.Number)) {
		s.err = fmt.Errorf("its number is %d, which has another place", s.Number)
	}
	s.Document = nil
	c.versions = append(c.versions, s)
}

// exactly reads JSON that is as json.Marshal writes it: no field more, none twice.
func exactly(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	again, err := json.Marshal(into)
	if err == nil && !bytes.Equal(body, again) {
		err = errors.New("it is not written as a server writes it")
	}
	return err
}

func (c *policyCheck) Findings(settled uint64) []storage.Finding {
	var out []storage.Finding
	find := func(index uint64, subject, format string, args ...any) {
		out = append(out, storage.Finding{Kind: "policy", Index: index, Subject: subject, Detail: fmt.Sprintf(format, args...)})
	}
	recorded := map[uint64]bool{}
	for _, v := range c.versions {
		recorded[v.Number] = true
		subject := fmt.Sprintf("version %d", v.Number)
		switch {
		case v.err != nil:
			find(storage.NoIndex, subject, "the record of policy version %d: %v", v.Number, v.err)
		case v.Number > uint64(len(c.changes)):
			find(storage.NoIndex, subject, "policy version %d (%s) was never activated: no entry says so", v.Number, v.Hash)
		default:
			if e := c.changes[v.Number-1]; v.Hash != hex.EncodeToString(e.hash[:]) || v.entry != e.index || v.Actor != e.actor {
				find(e.index, subject, "policy version %d is recorded as %s, activated by %s in entry %d; the ledger has %x, by %s in entry %d",
					v.Number, v.Hash, v.Actor, v.entry, e.hash, e.actor, e.index)
			}
		}
	}
	before := uint64(0) // activations that every record must know of
	for i, e := range c.changes {
		if e.index >= settled {
			break
		}
		before = uint64(i) + 1
		if !recorded[before] {
			find(e.index, fmt.Sprintf("version %d", before), "entry %d activates the policy %x, and its record is missing", e.index, e.hash)
		}
	}
	c.checkActive(before, find)
	return out
}

// checkActive: the policy in force is the last that was activated, of which at
// least the first before have been when the record was read.
func (c *policyCheck) checkActive(before uint64, find func(index uint64, subject, format string, args ...any)) {
	switch a := c.active; {
	case a == nil && before > 0:
		find(storage.NoIndex, activeID, "no policy is in force; entry %d has activated one", c.changes[before-1].index)
	case a == nil:
	case a.err != nil:
		find(storage.NoIndex, activeID, "the record of the policy in force: %v", a.err)
	case a.Number > uint64(len(c.changes)) || a.Number == 0:
		find(storage.NoIndex, activeID, "policy version %d (%s) is in force, and no entry has activated it", a.Number, a.Hash)
	default:
		e := c.changes[a.Number-1]
		if a.Number < before {
			last := c.changes[before-1]
			find(last.index, activeID, "policy version %d is in force, but entry %d has activated version %d after it", a.Number, last.index, before)
		} else if a.Hash != hex.EncodeToString(e.hash[:]) {
			find(e.index, activeID, "the policy %s is in force, but entry %d has activated %x", a.Hash, e.index, e.hash)
		}
	}
}
