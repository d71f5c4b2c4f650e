package token

import (
	"reflect"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// TestAbandoned: what is told from the row is what Use has said.
func TestAbandoned(t *testing.T) {
	key := [32]byte{1, 2, 3}
	for _, c := range []storage.Certificate{
		{Requester: "local_socket:admin", Intent: entry.Intent{RequestKey: key}},
		{Requester: "token:abc"},
	} {
		if commands := Abandoned(c); commands != nil {
			t.Errorf("%+v: %+v", c, commands)
		}
	}
	got := Abandoned(storage.Certificate{
		Requester: identity.Principal{Method: identity.Token, ID: "abc"}.String(), Intent: entry.Intent{RequestKey: key},
	})
	want := []storage.Command{storage.ReleaseToken{ID: "abc", For: useOf("abc", key)}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
