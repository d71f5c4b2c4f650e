package main

import (
	"crypto"
	"slices"
	"strings"

	"github.com/certwright/certwright/client"
)

// keyNames are the values of --key, the default first.
var keyNames = client.KeyTypes()

// newKey makes a private key in this process; it goes to a file of the caller and
// nowhere else.
func newKey(algorithm string) (crypto.Signer, error) {
	if !slices.Contains(keyNames, algorithm) {
		return nil, usagef("--key %q is not one of %s", algorithm, strings.Join(keyNames, ", "))
	}
	return client.NewKey(algorithm)
}
