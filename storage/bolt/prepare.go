package bolt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Limits of what a unit and its commands may hold.
const (
	maxCommands   = 1000
	maxText       = 255
	maxCollection = 32
	maxErasable   = 4096
	maxBody       = 1 << 20
	maxIndexes    = 100
)

// prepare checks what can be checked of a unit without the store's state, in
// the caller's goroutine, and makes its operations.
func prepare(u storage.Unit) ([]operation, error) {
	if len(u) == 0 || len(u) > maxCommands {
		return nil, fmt.Errorf("unit of %d commands: 1 to %d are possible", len(u), maxCommands)
	}
	ops := make([]operation, 0, len(u))
	for _, c := range u {
		op, err := prepareCommand(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", commandName(c), err)
		}
		ops = append(ops, func(u *unit) error {
			if err := op(u); err != nil {
				return fmt.Errorf("%s: %w", commandName(c), err)
			}
			return nil
		})
	}
	return ops, nil
}

func commandName(c storage.Command) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", c), "storage.")
}

func prepareCommand(c storage.Command) (operation, error) {
	switch c := c.(type) {
	case storage.ReserveIssuance:
		return prepareReserve(c)
	case storage.CompleteIssuance:
		return prepareComplete(c)
	case storage.Abandon:
		return prepareAbandon(c)
	case storage.Revoke:
		return prepareRevoke(c)
	case storage.AppendEntry:
		return prepareAppend(c)
	case storage.RestoreEntry:
		return prepareRestore(c)
	case storage.PutCRL:
		return preparePutCRL(c)
	case storage.UseToken:
		return prepareUseToken(c)
	case storage.ReleaseToken:
		return prepareReleaseToken(c)
	case storage.PutRecord:
		return preparePutRecord(c)
	case storage.DeleteRecord:
		return prepareDeleteRecord(c)
	case storage.RequireRecord:
		return prepareRequireRecord(c)
	case storage.PutErasable:
		return preparePutErasable(c)
	}
	return nil, errors.New("this command is not known")
}

func prepareAppend(c storage.AppendEntry) (operation, error) {
	switch c.Entry.Kind {
	case entry.IssuanceIntent, entry.AbandonedIntent, entry.Revocation, entry.CRLPublished:
		return nil, fmt.Errorf("an entry of kind %s has a command of its own", c.Entry.Kind)
	}
	return func(u *unit) error {
		_, err := u.append(c.Entry)
		return err
	}, nil
}

// text checks a part of a key: not too long, and without NUL, which separates
// parts.
func text(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s of %d octets: %d are possible", what, len(s), most)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s has a NUL", what)
	}
	return nil
}
