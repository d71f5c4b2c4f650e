package ca

import (
	"context"
	"errors"
	"fmt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// blockedCheck matches the records of blocked keys with the entries that block
// them: revocations for keyCompromise, and actions.
type blockedCheck struct {
	certificates storage.CertificateReader
	ctx          context.Context //nolint:containedctx // lives for one Verify, whose checks have none
	order        []uint64        // the keys of blocks, rising
	blocks       map[uint64]block
	records      map[string]blockedStored
}

// block is an entry that blocks a key.
type block struct {
	key    string // KeyID; of a revocation empty: that of the certificate
	issuer identity.KeyID
	serial identity.Serial
	detail string // of an action
}

// blockedStored is what remains of a record.
type blockedStored struct {
	blockedRecord
	entry uint64
	err   error
}

// CheckBlockedKeys matches blocked keys with the ledger: none without an entry that
// blocks it, and none missing that an entry has blocked. The certificates tell the
// keys of those that were revoked for keyCompromise.
func CheckBlockedKeys(ctx context.Context, certificates storage.CertificateReader) ledger.RecordCheck {
	return &blockedCheck{certificates: certificates, ctx: ctx, blocks: map[uint64]block{}, records: map[string]blockedStored{}}
}

func (c *blockedCheck) Collections() []string { return []string{blockedCollection} }

func (c *blockedCheck) Entry(index uint64, _ entry.Entry, body entry.Body) error {
	var b block
	switch e := body.(type) {
	case entry.Revoked:
		if identity.RevocationReason(e.Reason) != identity.KeyCompromise {
			return nil
		}
		b = block{issuer: e.Issuer, serial: e.Serial}
	case entry.Action:
		if e.Action != actionBlocked {
			return nil
		}
		b = block{key: e.Target, detail: e.Detail}
	default:
		return nil
	}
	c.order = append(c.order, index)
	c.blocks[index] = b
	return nil
}

func (c *blockedCheck) Record(_ string, r storage.Record) {
	s := blockedStored{entry: r.Entry}
	s.err = exactly(r.Body, &s.blockedRecord)
	if s.err == nil && !r.Expires.IsZero() {
		s.err = errors.New("it expires, and a block is for ever")
	}
	c.records[r.ID] = s
}

func (c *blockedCheck) Findings(settled uint64) []storage.Finding {
	var out []storage.Finding
	find := func(index uint64, key, format string, args ...any) {
		out = append(out, storage.Finding{Kind: "blocked-key", Index: index, Subject: key, Detail: fmt.Sprintf(format, args...)})
	}
	for _, index := range c.order {
		b := c.blocks[index]
		if b.key == "" {
			key, err := c.keyOf(b)
			if err != nil {
				find(index, "", "entry %d blocks the key of serial %s, which cannot be told: %v", index, b.serial, err)
			}
			b.key = key
			c.blocks[index] = b
		}
		if _, there := c.records[b.key]; !there && b.key != "" && index < settled {
			find(index, b.key, "entry %d blocks the key %s, and its record is missing: certificates are issued for it", index, b.key)
		}
	}
	for key, r := range c.records {
		b, known := c.blocks[r.entry]
		switch {
		case r.err != nil:
			find(storage.NoIndex, key, "the record of the blocked key %s: %v", key, r.err)
		case !known || b.key != key:
			find(storage.NoIndex, key, "the key %s is recorded as blocked by entry %d, which does not block it", key, r.entry)
		case b.detail == "" && (r.Issuer != b.issuer.String() || r.Serial != b.serial.String()),
			b.detail != "" && b.detail != blockedDetail+r.Serial:
			find(r.entry, key, "the key %s is recorded as blocked with the certificate %s; entry %d says another", key, r.Serial, r.entry)
		}
	}
	return out
}

// keyOf is the key of the certificate that a revocation is about.
func (c *blockedCheck) keyOf(b block) (string, error) {
	row, err := c.certificates.BySerial(c.ctx, b.issuer, b.serial)
	if err != nil {
		return "", err
	}
	return row.SPKI.String(), nil
}
