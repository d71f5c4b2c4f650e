package token

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

const (
	actionCreated = "token.created"
	actionRevoked = "token.revoked"
	actionLost    = "token.lost" // by a recovery: its record is gone, it is good for nothing
	// detailSum comes before the SHA-256 of the token's record, at the end of an
	// action's detail: it binds all of the record, also what is not told, and tells
	// nothing, because the record holds the hash of 256 random bits.
	detailSum = "sha256="
)

// created is the commands that write the making of a token into the ledger, with
// the SHA-256 of the record body. IP addresses and emails stand as commitments,
// their values in an erasable place.
func created(id string, r record, body []byte) (storage.Unit, error) {
	var unit storage.Unit
	action := entry.Action{
		Action: actionCreated,
		Target: id,
		Detail: fmt.Sprintf("owner=%s profiles=%s uses=%d expires=%s dns=%s uri=%s %s%s", r.Owner,
			strings.Join(r.Profiles, ","), r.Uses, r.Expires.UTC().Format(time.RFC3339),
			strings.Join(r.Names.DNS, ","), strings.Join(r.Names.URI, ","), detailSum, sumOf(body)),
	}
	commit := func(kind string, patterns []string) {
		for _, pattern := range patterns {
			var salt [32]byte
			_, _ = rand.Read(salt[:]) // never fails
			value := []byte(kind + ":" + pattern)
			commitment := entry.Commit(salt, value)
			action.Commitments = append(action.Commitments, commitment)
			unit = append(unit, storage.PutErasable{Commitment: commitment, Salt: salt, Value: value})
		}
	}
	commit("ip", r.Names.IP)
	commit("email", r.Names.Email)
	draft, err := action.Draft(r.Creator)
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", id, err)
	}
	return append(unit, storage.AppendEntry{Entry: draft}), nil
}

// revoked is the command that writes the revocation of a token into the ledger,
// with the SHA-256 of the record body as it is then.
func revoked(id string, r record, body []byte, actor string) (storage.Unit, error) {
	action := entry.Action{Action: actionRevoked, Target: id, Detail: "owner=" + r.Owner + " " + detailSum + sumOf(body)}
	draft, err := action.Draft(actor)
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", id, err)
	}
	return storage.Unit{storage.AppendEntry{Entry: draft}}, nil
}
