// Package book is the core of the auditor: it follows a published ledger (C2SP
// tlog-tiles) as somebody who trusts none of those that keep it. It keeps the last
// checkpoint and a copy of every entry, checks that each new checkpoint contains
// the one before, reads every entry, looks up certificates that others have shown,
// and says what does not hold.
//
// Besides the standard library it imports only merkle, plainfile, x/mod's tlog and
// note, and cryptobyte; layers_test.go holds it to that. What is not known to it, such as
// the language of policies, comes in by an interface.
package book

import (
	"errors"
	"fmt"
	"time"
)

// Finding is something that does not hold.
type Finding struct {
	Kind    string  `json:"kind"`    // one of the kinds below
	Index   *uint64 `json:"index"`   // the entry concerned; nil: none
	Subject string  `json:"subject"` // what it is about: a serial, a file, an address
	Detail  string  `json:"detail"`  // one sentence
}

// The kinds of finding. A program may rely on them.
const (
	KindFork     = "fork"           // the same size with another root
	KindShorter  = "shorter"        // fewer entries than were there
	KindChanged  = "changed"        // more entries, and not those that were there
	KindReplaced = "entry-replaced" // another entry stands in the place of one that was there
	KindInserted = "entry-inserted" // an entry was put between those that were there
	KindRemoved  = "entry-removed"  // an entry that was there is gone
	KindSplit    = "split"          // two servers show different trees
	KindForged   = "forged"         // a checkpoint without the log's signature
	KindOrigin   = "origin"         // another log's checkpoint or genesis
	KindServed   = "served"         // an entry or tile that is not the one in the signed tree
	KindEpoch    = "epoch"          // a new epoch that does not follow what was seen
	KindEntry    = "entry"          // an entry that is malformed or out of order
	KindPolicy   = "policy"         // an intent under a policy that was not in force
	KindBounds   = "bounds"         // a certificate outside of its profile or grant
	KindUnlogged = "unlogged"       // a certificate that is not in the book
	KindOtherTBS = "other-tbs"      // a certificate whose serial is in the book with another content
	KindUnread   = "unreadable"     // something shown that is no certificate
	KindWitness  = "witness"        // fewer cosignatures than asked for
	KindState    = "state"          // the auditor's own folder does not hold
)

// String is one line.
func (f Finding) String() string {
	s := f.Kind
	if f.Index != nil {
		s += fmt.Sprintf(" entry %d", *f.Index)
	}
	if f.Subject != "" {
		s += " " + f.Subject
	}
	return s + ": " + f.Detail
}

// Report takes findings, one at a time.
type Report func(Finding)

func (r Report) at(kind string, index uint64, subject, format string, args ...any) {
	r(Finding{Kind: kind, Index: &index, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

func (r Report) of(kind, subject, format string, args ...any) {
	r(Finding{Kind: kind, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

// ErrUnavailable is in the chain of errors of a source that cannot be read now:
// nothing is shown by it, and it can be tried again.
var ErrUnavailable = errors.New("it cannot be read now")

// LockedError says that another program works in an auditor's folder.
type LockedError struct{ Dir string }

func (e *LockedError) Error() string {
	return "another certwright-audit works in " + e.Dir + ": stop it, or name another folder with --state"
}

// Is makes it an ErrUnavailable: it can be tried again.
func (e *LockedError) Is(target error) bool { return target == ErrUnavailable }

// errServed is in the chain of errors of what was served and is not in the signed
// tree.
var errServed = errors.New("it is not what the signed tree holds")

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
