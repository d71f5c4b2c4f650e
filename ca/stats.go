package ca

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats counts what an Authority has done since New.
type Stats struct {
	Issued    uint64
	Repeated  uint64 // answered with the certificate of the same request before
	Abandoned uint64
	Revoked   uint64
	// Refused counts refusals by reason code: of each violation if there are
	// some, else of the problem.
	Refused map[string]uint64
	// Signatures counts what issuers' keys have signed, by issuer name: certificates
	// (and whatever else is no CRL and no OCSP answer), CRLs and OCSP answers.
	Signatures, CRLSignatures, OCSPSignatures map[string]uint64
}

// counters are the live Stats.
type counters struct {
	issued, repeated, abandoned, revoked atomic.Uint64

	mu         sync.Mutex
	refused    map[string]uint64
	signatures map[string]uint64
	crls, ocsp map[string]uint64 // signatures for these purposes
}

func (c *counters) addRefused(reason string) { c.add(&c.refused, reason) }

func (c *counters) add(m *map[string]uint64, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[key]++
}

// Stats is a copy of the counts as they stand.
func (a *Authority) Stats() Stats {
	c := &a.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Issued: c.issued.Load(), Repeated: c.repeated.Load(), Abandoned: c.abandoned.Load(), Revoked: c.revoked.Load(),
		Refused: maps.Clone(c.refused), Signatures: maps.Clone(c.signatures),
		CRLSignatures: maps.Clone(c.crls), OCSPSignatures: maps.Clone(c.ocsp),
	}
}
