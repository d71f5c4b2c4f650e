package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

// recordCheck matches the records of sessions with what the ledger says of them.
type recordCheck struct {
	said   map[string][]state // by ID, one after the other
	stored map[string]stored
}

// state is a record as an entry says it.
type state struct {
	index uint64 // of the entry
	sum   string
}

// stored is what remains of a record.
type stored struct {
	sum string
	err error
}

// CheckRecords matches sessions with the ledger: none without the entry that opened
// it, and none that is other than its last entry says. A session without a record
// has ended.
func CheckRecords() ledger.RecordCheck {
	return &recordCheck{said: map[string][]state{}, stored: map[string]stored{}}
}

func (c *recordCheck) Collections() []string { return []string{collection} }

func (c *recordCheck) Entry(index uint64, _ entry.Entry, body entry.Body) error {
	a, ok := body.(entry.Action)
	if !ok || a.Action != actionOpened && a.Action != actionRevoked {
		return nil
	}
	switch before := len(c.said[a.Target]); {
	case a.Action == actionOpened && before > 0:
		return fmt.Errorf("it opens the session %.64q, which was opened before", a.Target)
	case a.Action == actionRevoked && before == 0:
		return fmt.Errorf("it revokes the session %.64q, which was not opened before", a.Target)
	}
	c.said[a.Target] = append(c.said[a.Target], state{index, strings.TrimPrefix(a.Detail, detailSum)})
	return nil
}

func (c *recordCheck) Record(_ string, r storage.Record) {
	s := stored{sum: sumOf(r.Body)}
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
		said := c.said[id]
		if len(said) == 0 {
			find(storage.NoIndex, id, "the session has a record, and no entry has opened it")
			continue
		}
		last := said[len(said)-1].index
		switch {
		case r.err != nil:
			find(last, id, "the session's record: %v", r.err)
		case !had(said, r.sum, settled):
			find(last, id, "the session's record is not the one that entry %d speaks of", last)
		}
	}
	return out
}

// had tells whether a record that was read after the first settled entries can
// have this sum: that of the last of them, or of one that came after.
func had(said []state, sum string, settled uint64) bool {
	for i := len(said) - 1; i >= 0; i-- {
		if said[i].sum == sum {
			return true
		}
		if said[i].index < settled {
			break
		}
	}
	return false
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
