package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

const (
	actionOpened  = "session.opened"
	actionRevoked = "session.revoked"
	// detailSum comes before the SHA-256 of the session's record: it binds all of it
	// and tells nothing, because the record holds the hash of 256 random bits.
	detailSum = "sha256="
)

// did is the command that writes into the ledger what was done to a session, with
// the SHA-256 of its record as it is then. Claims, which name persons, and addresses
// stand in the record alone, which is deleted.
func did(action, id string, body []byte, actor string) (storage.Command, error) {
	draft, err := entry.Action{Action: action, Target: id, Detail: detailSum + sumOf(body)}.Draft(actor)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return storage.AppendEntry{Entry: draft}, nil
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// recordCheck matches the records of sessions with what the ledger says of them. A
// ledger speaks of all sessions that there ever were: of each a few dozen octets are
// held, with hashes that nobody can aim at, because their seed is of this check alone.
type recordCheck struct {
	seed    maphash.Seed
	opened  map[uint64]state // by the hash of the ID
	revoked map[uint64]state // the last time
	stored  map[string]stored
}

// state is a record as an entry says it.
type state struct {
	index uint64 // of the entry
	sum   uint64 // the hash of the record's SHA-256 in hexadecimal
}

// stored is what remains of a record.
type stored struct {
	sum uint64
	err error
}

// CheckRecords matches sessions with the ledger: none without the entry that opened
// it, and none that is other than its last entry says. A session without a record
// has ended.
func CheckRecords() ledger.RecordCheck {
	return &recordCheck{
		seed: maphash.MakeSeed(), opened: map[uint64]state{}, revoked: map[uint64]state{}, stored: map[string]stored{},
	}
}

func (c *recordCheck) hash(text string) uint64 { return maphash.String(c.seed, text) }

func (c *recordCheck) Collections() []string { return []string{collection} }

func (c *recordCheck) Entry(index uint64, _ entry.Entry, body entry.Body) error {
	a, ok := body.(entry.Action)
	if !ok || a.Action != actionOpened && a.Action != actionRevoked {
		return nil
	}
	id := c.hash(a.Target)
	said := state{index, c.hash(strings.TrimPrefix(a.Detail, detailSum))}
	switch _, before := c.opened[id]; {
	case a.Action == actionOpened && before:
		return fmt.Errorf("it opens the session %.64q, which was opened before", a.Target)
	case a.Action == actionRevoked && !before:
		return fmt.Errorf("it revokes the session %.64q, which was not opened before", a.Target)
	case a.Action == actionOpened:
		c.opened[id] = said
	default:
		c.revoked[id] = said
	}
	return nil
}

func (c *recordCheck) Record(_ string, r storage.Record) {
	s := stored{sum: c.hash(sumOf(r.Body))}
	body, err := parseRecord(r)
	if s.err = err; err == nil {
		again, err := json.Marshal(body)
		if err != nil || !bytes.Equal(again, r.Body) || !r.Expires.Equal(body.Expires.Add(keep).Truncate(time.Millisecond)) {
			s.err = errors.New("it is not written as a server writes it")
		}
	}
	c.stored[r.ID] = s
}

func (c *recordCheck) Findings(settled uint64) []storage.Finding {
	var out []storage.Finding
	find := func(index uint64, id, format string, args ...any) {
		out = append(out, storage.Finding{Kind: "session", Index: index, Subject: id, Detail: fmt.Sprintf(format, args...)})
	}
	for id, r := range c.stored {
		opened, was := c.opened[c.hash(id)]
		if !was {
			find(storage.NoIndex, id, "the session has a record, and no entry has opened it")
			continue
		}
		last, revoked := c.revoked[c.hash(id)]
		if !revoked {
			last = opened
		}
		// A record that was read before the session was revoked is that of its opening.
		holds := r.sum == last.sum || last.index >= settled && r.sum == opened.sum
		switch {
		case r.err != nil:
			find(last.index, id, "the session's record: %v", r.err)
		case !holds:
			find(last.index, id, "the session's record is not the one that entry %d speaks of", last.index)
		}
	}
	return out
}

// EndAll is the commands that end all sessions of a store, for who goes on from an
// older copy of it: one that was revoked since must not come back.
func EndAll(ctx context.Context, store storage.RecordReader) ([]storage.Command, error) {
	var out []storage.Command
	var after []byte
	for {
		page, err := store.Records(ctx, collection, "", "", after, 500)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			out = append(out, storage.DeleteRecord{Collection: collection, ID: r.ID, IfVersion: storage.AnyVersion})
		}
		if after = page.Next; after == nil {
			return out, nil
		}
	}
}
