package bolt

import (
	"slices"
	"sync"

	"github.com/certwright/certwright/storage"
)

// The bounds of what recent holds.
const (
	recentRecords = 1 << 10 // in each of its two halves
	recentBody    = 4 << 10 // octets; longer bodies are not held
)

// recordID names a record.
type recordID struct{ collection, id string }

// recent holds the records that were read or written last, as the last durable
// state has them: the requests of one ACME flow read the same few a dozen times. It
// forgets by halves: what was not asked for while one half filled up is gone.
type recent struct {
	mu       sync.Mutex
	state    uint64 // counts the durable states
	new, old map[recordID]storage.Record
}

// get gives a record out; state is for keep. Readers of the file must ask for it
// before they take their snapshot.
func (c *recent) get(id recordID) (r storage.Record, found bool, state uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, found = c.new[id]; !found {
		if r, found = c.old[id]; found {
			c.hold(id, r)
		}
	}
	r.Body = slices.Clone(r.Body)
	return r, found, c.state
}

// keep holds a record that was read from the file, unless the file has changed since
// get gave the state.
func (c *recent) keep(id recordID, r storage.Record, state uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == c.state {
		r.Body = slices.Clone(r.Body)
		c.hold(id, r)
	}
}

// change takes over what a transaction has left. The caller is the writer, and
// readers take the new state's snapshot already.
func (c *recent) change(changes []recordChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state++
	for _, x := range changes {
		delete(c.new, x.recordID)
		delete(c.old, x.recordID)
		if !x.gone {
			c.hold(x.recordID, x.record)
		}
	}
}

// drop forgets everything.
func (c *recent) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state++
	c.new, c.old = nil, nil
}

func (c *recent) hold(id recordID, r storage.Record) {
	if len(r.Body) > recentBody {
		return
	}
	if c.new == nil || len(c.new) >= recentRecords {
		c.new, c.old = make(map[recordID]storage.Record, recentRecords), c.new
	}
	c.new[id] = r
}

// recordChange is what a unit has made of a record.
type recordChange struct {
	recordID
	record storage.Record
	gone   bool
}
