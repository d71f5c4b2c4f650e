package ca

import (
	"fmt"
	"strconv"
	"time"
)

// slots is what the refusals' record slots hold, as far as it decides which is
// written next.
type slots struct {
	used []refusalSlot // by number
	// order is counted up with each slot that is written: times may be equal.
	order uint64
}

type refusalSlot struct {
	requester string // empty and no order: the slot is free
	at        time.Time
	order     uint64
}

func slotID(n int) string { return fmt.Sprintf("%04d", n) }

// read takes in a stored refusal.
func (s *slots) read(id string, f Refusal) error {
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil || n >= refusalsKept {
		return fmt.Errorf("refusal slot %.16q is none", id)
	}
	for uint64(len(s.used)) <= n {
		s.used = append(s.used, refusalSlot{})
	}
	s.order++
	s.used[n] = refusalSlot{requester: f.Requester, at: f.Time, order: s.order}
	return nil
}

func (s *slots) clone() *slots {
	return &slots{used: append([]refusalSlot(nil), s.used...), order: s.order}
}

// put takes a slot for a refusal: a free one, else that of the oldest refusal of the
// requester that has most; among several that have as many, the oldest of all.
func (s *slots) put(requester string, at time.Time) int {
	s.order++
	n := s.choose()
	if n == len(s.used) {
		s.used = append(s.used, refusalSlot{})
	}
	s.used[n] = refusalSlot{requester: requester, at: at, order: s.order}
	return n
}

func (s *slots) choose() int {
	held := map[string]int{}
	for n, each := range s.used {
		if each.order == 0 {
			return n
		}
		held[each.requester]++
	}
	if len(s.used) < refusalsKept {
		return len(s.used)
	}
	oldest := 0
	for n, each := range s.used {
		was := s.used[oldest]
		more := held[each.requester] - held[was.requester]
		if more > 0 || more == 0 && each.before(was) {
			oldest = n
		}
	}
	return oldest
}

func (s refusalSlot) before(other refusalSlot) bool {
	if !s.at.Equal(other.at) {
		return s.at.Before(other.at)
	}
	return s.order < other.order
}
