package token

import (
	"crypto/sha256"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Abandoned is the commands that give back the use of a token for an intent whose
// server has died: Commands.Abandon of Use, told from the certificate's row. The
// use of a request without an ID cannot be told and stays used.
func Abandoned(c storage.Certificate) []storage.Command {
	id, ok := strings.CutPrefix(c.Requester, string(identity.Token)+":")
	if !ok || c.Intent.RequestKey == ([32]byte{}) {
		return nil
	}
	return []storage.Command{storage.ReleaseToken{
		ID: id, For: useOf(id, c.Intent.RequestKey),
	}}
}

// useOf names the use of a token by the request with this key. A key is the same
// for every token of a principal's name; with the ID it stays with this one.
func useOf(id string, key [32]byte) [32]byte { return sha256.Sum256(append([]byte(id), key[:]...)) }
