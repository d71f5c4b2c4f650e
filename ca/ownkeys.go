package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// ownKeys are the keys that the CA itself holds. A certificate of somebody's name
// for one of them would let what the CA signs speak for that name.
type ownKeys struct {
	signing map[identity.KeyID]bool // of issuers, the CAs above them, checkpoints
	server  identity.KeyID          // zero: none
}

func newOwnKeys(cfg Config) (ownKeys, error) {
	own := ownKeys{signing: map[identity.KeyID]bool{}}
	all := append([]crypto.PublicKey{}, cfg.Keys...)
	for _, is := range cfg.Issuers {
		for _, cert := range append([]*x509.Certificate{is.Certificate}, is.Chain...) {
			all = append(all, cert.PublicKey)
		}
	}
	for _, pub := range all {
		id, err := identity.KeyIDOf(pub)
		if err != nil {
			return own, fmt.Errorf("a key of the CA: %w", err)
		}
		own.signing[id] = true
	}
	if cfg.ServerKey == nil {
		return own, nil
	}
	var err error
	if own.server, err = identity.KeyIDOf(cfg.ServerKey); err != nil {
		return own, fmt.Errorf("the server's key: %w", err)
	}
	if own.signing[own.server] {
		return own, errors.New("the server's key is also a key that the CA signs with")
	}
	return own, nil
}

// check refuses a request for a key of the CA: BadCSR, KEY_OF_THE_CA.
func (o ownKeys) check(req identity.Request) error {
	id, err := identity.KeyIDOf(req.PublicKey)
	if err != nil {
		return &problem.Problem{Kind: problem.BadCSR, Reason: "KEY_TYPE", Detail: "the key cannot stand in a certificate", Err: err}
	}
	mayServe := req.Principal.Method == identity.System
	if !o.signing[id] && (id != o.server || mayServe) {
		return nil
	}
	return &problem.Problem{
		Kind: problem.BadCSR, Reason: "KEY_OF_THE_CA", Rule: "public keys", Value: id.String(),
		Detail: "the key is one of the CA's own", Help: "make a new key for each certificate's holder",
	}
}
