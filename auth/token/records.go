package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// recordCheck matches the records of tokens with what the ledger says of them:
// the last entry about a token has the SHA-256 of its record.
type recordCheck struct {
	now     time.Time
	tokens  map[string]*history
	intents map[uint64]string // of tokens, not abandoned → token
	records map[string]stored
}

// history is what the entries say of a token.
type history struct {
	created time.Time
	states  []state // of its record, one after the other
	lost    bool    // a recovery has not brought it back
	live    uint32  // certificates that were reserved with it and not given up
}

// state is a record as an entry says it.
type state struct {
	index uint64 // of the entry
	sum   string
}

func (h *history) last() state { return h.states[len(h.states)-1] }

// stored is what remains of a record.
type stored struct {
	sum  string
	uses uint32
	err  error
}

// CheckRecords matches tokens with the ledger: no token without the entry that
// made it, none that is other than its last entry says, and no certificate by a
// token that was not made before. now is the time of the check.
func CheckRecords(now time.Time) ledger.RecordCheck {
	return &recordCheck{now: now, tokens: map[string]*history{}, intents: map[uint64]string{}, records: map[string]stored{}}
}

func (c *recordCheck) Collections() []string { return []string{collection} }

func (c *recordCheck) Entry(index uint64, e entry.Entry, body entry.Body) error {
	switch b := body.(type) {
	case entry.Action:
		return c.action(index, e.Time, b)
	case entry.Intent:
		return c.intent(index, e.Actor, b.Grant)
	case entry.SSH:
		return c.intent(index, e.Actor, b.Grant)
	case entry.Abandoned:
		if id, ok := c.intents[b.Index]; ok {
			c.tokens[id].live--
			delete(c.intents, b.Index)
		}
	}
	return nil
}

func (c *recordCheck) action(index uint64, at time.Time, a entry.Action) error {
	h := c.tokens[a.Target]
	switch a.Action {
	case actionCreated:
		if h != nil {
			return fmt.Errorf("it makes the token %.64q, which was made before", a.Target)
		}
		h = &history{created: at}
		c.tokens[a.Target] = h
	case actionRevoked:
		if h == nil {
			return fmt.Errorf("it revokes the token %.64q, which was not made before", a.Target)
		}
	case actionLost:
		if h == nil {
			return fmt.Errorf("the token %.64q is lost, which was not made before", a.Target)
		}
		h.lost = true
		return nil
	default:
		return nil
	}
	sum := "" // an owner may have in its name what comes before a sum: the last one counts
	if at := strings.LastIndex(a.Detail, " "+detailSum); at >= 0 {
		sum = a.Detail[at+len(" "+detailSum):]
	}
	h.states = append(h.states, state{index, sum})
	return nil
}

// intent checks that the token which asks, and the one whose grant allows it,
// were made.
func (c *recordCheck) intent(index uint64, actor, grant string) error {
	prefix := string(identity.Token) + ":"
	for _, name := range []string{actor, grant} {
		if id, ok := strings.CutPrefix(name, prefix); ok && c.tokens[id] == nil {
			return fmt.Errorf("it was asked for by the token %.64q, which no entry before it has made", id)
		}
	}
	if id, ok := strings.CutPrefix(actor, prefix); ok {
		if grant != grantName(id) {
			return fmt.Errorf("it was asked for by the token %.64q and allowed by another grant, %.64q", id, grant)
		}
		c.intents[index] = id
		c.tokens[id].live++
	}
	return nil
}

func (c *recordCheck) Record(_ string, r storage.Record) {
	s := stored{sum: sumOf(r.Body)}
	body, err := parseRecord(r)
	if s.err = err; err == nil {
		s.uses = body.Uses
		again, err := json.Marshal(body)
		if err != nil || !bytes.Equal(again, r.Body) || !r.Expires.Equal(body.Expires.Add(keep).Truncate(time.Millisecond)) {
			s.err = errors.New("it is not written as a server writes it")
		}
	}
	c.records[r.ID] = s
}

func (c *recordCheck) Findings(settled uint64) []storage.Finding {
	var out []storage.Finding
	find := func(index uint64, id, format string, args ...any) {
		out = append(out, storage.Finding{Kind: "token", Index: index, Subject: id, Detail: fmt.Sprintf(format, args...)})
	}
	for id, r := range c.records {
		h := c.tokens[id]
		switch {
		case h == nil:
			find(storage.NoIndex, id, "the token has a record, and no entry has made it")
		case h.lost:
			find(h.last().index, id, "the token was lost, and it has a record")
		case r.err != nil:
			find(h.last().index, id, "the token's record: %v", r.err)
		case !h.had(r.sum, settled):
			find(h.last().index, id, "the token's record is not the one that entry %d speaks of", h.last().index)
		case h.live > r.uses:
			find(h.last().index, id, "the token is good for %d certificates, and %d were reserved with it", r.uses, h.live)
		}
	}
	for id, h := range c.tokens {
		if _, ok := c.records[id]; !ok && !h.lost && h.states[0].index < settled && c.now.Before(h.created.Add(MaxTTL+keep)) {
			find(h.last().index, id, "the token was made, and its record is missing")
		}
	}
	return out
}

// had tells whether a record that was read after the first settled entries can
// have this sum: that of the last of them, or of one that came after.
func (h *history) had(sum string, settled uint64) bool {
	for i := len(h.states) - 1; i >= 0; i-- {
		if h.states[i].sum == sum {
			return true
		}
		if h.states[i].index < settled {
			break
		}
	}
	return false
}

// sumOf is how an entry about a token names its record.
func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
