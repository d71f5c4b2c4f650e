package ledger

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

const (
	page    = 500 // certificates read at once
	workers = 2   // that verify signatures
)

// certificates is the second pass: every certificate's row.
func (v *verification) certificates(ctx context.Context) error {
	issuers := map[identity.KeyID]*x509.Certificate{}
	for _, c := range v.Issuers {
		id, err := identity.KeyIDOf(c.PublicKey)
		if err != nil {
			return fmt.Errorf("issuer %s: %w", c.Subject, err)
		}
		issuers[id] = c
	}
	group, ctx := errgroup.WithContext(ctx)
	pages := make(chan []storage.Certificate, workers)
	group.Go(func() error {
		defer close(pages)
		return v.pages(ctx, pages)
	})
	for range workers {
		group.Go(func() error {
			for list := range pages {
				for _, c := range list {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					v.certificate(c, issuers)
					v.lineage(ctx, c)
				}
				v.passing.at(list[len(list)-1].Index, v.head.Size)
			}
			return nil
		})
	}
	return group.Wait()
}

// pages sends the rows of all intents that were there at the beginning.
func (v *verification) pages(ctx context.Context, out chan<- []storage.Certificate) error {
	q := storage.Query{Order: storage.ByIndex, Limit: page}
	next := uint64(0) // the index after the last one read
	for {
		p, err := v.Store.Certificates(ctx, q)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return v.oneByOne(ctx, next, out)
		}
		if len(p.Certificates) > 0 {
			next = p.Certificates[len(p.Certificates)-1].Index + 1
			if err := v.send(ctx, out, p.Certificates); err != nil {
				return err
			}
		}
		if p.Next == nil || next > v.head.Size {
			return nil
		}
		q.After = p.Next
	}
}

func (v *verification) send(ctx context.Context, out chan<- []storage.Certificate, list []storage.Certificate) error {
	v.summary.Certificates += uint64(len(list))
	select {
	case out <- list:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// oneByOne goes on from intent to intent where a page cannot be read, so that
// one damaged row hides no other.
func (v *verification) oneByOne(ctx context.Context, from uint64, out chan<- []storage.Certificate) error {
	for index := from; index < v.head.Size; index++ {
		if !v.intents.has(index) {
			continue
		}
		c, serial, err := v.ofIntent(ctx, index)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.wrong("certificate", index, serial, "the row of the certificate of entry %d cannot be read: %v", index, err)
			continue
		}
		if err := v.send(ctx, out, []storage.Certificate{c}); err != nil {
			return err
		}
	}
	return nil
}

// ofIntent reads the certificate that the intent at index names.
func (v *verification) ofIntent(ctx context.Context, index uint64) (c storage.Certificate, serial string, err error) {
	raws, err := v.Store.Entries(ctx, index, 1)
	if err == nil && len(raws) == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return c, "", err
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		return c, "", err
	}
	i, err := entry.ParseIntent(e.Draft)
	if err != nil {
		return c, "", err
	}
	s, err := serialOf(i.TBS)
	if err != nil {
		return c, "", err
	}
	c, err = v.Store.BySerial(ctx, i.Issuer, s)
	return c, s.String(), err
}

// certificate compares one row with its intent, and checks its signature.
func (v *verification) certificate(c storage.Certificate, issuers map[identity.KeyID]*x509.Certificate) {
	serial := c.Serial.String()
	if c.Index < v.head.Size && !v.intents.has(c.Index) {
		v.wrong("certificate", c.Index, serial, "the certificate's row names entry %d, which is no issuance intent", c.Index)
	}
	if shard, ok := shardOf(c.Intent.TBS); ok && shard != uint64(c.CRLShard) {
		v.wrong("certificate", c.Index, serial, "its row has the CRL shard %d, its intent, entry %d, the shard %d: a revocation would not be seen", c.CRLShard, c.Index, shard)
	}
	if c.State != storage.Issued {
		return
	}
	tbs, err := tbsOf(c.DER)
	if err != nil {
		v.wrong("certificate", c.Index, serial, "the stored certificate cannot be read: %v", err)
		return
	}
	if !bytes.Equal(tbs, c.Intent.TBS) {
		v.wrong("certificate", c.Index, serial, "the stored certificate's TBS is not that of its intent, entry %d", c.Index)
		return
	}
	if !v.Signatures {
		return
	}
	issuer, ok := issuers[c.Issuer]
	if !ok {
		v.wrong("signature", c.Index, serial, "there is no CA certificate for the issuer %s", c.Issuer)
		return
	}
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		v.wrong("signature", c.Index, serial, "the stored certificate cannot be read: %v", err)
		return
	}
	if err := issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		v.wrong("signature", c.Index, serial, "the certificate's signature does not hold under %s: %v", issuer.Subject, err)
	}
}

// lineage checks that what a certificate replaces was issued before it; of an
// earlier epoch it need not be there.
func (v *verification) lineage(ctx context.Context, c storage.Certificate) {
	if c.Intent.Replaces == ([32]byte{}) {
		return
	}
	before, err := v.Store.ByFingerprint(ctx, c.Intent.Replaces)
	switch {
	case ctx.Err() != nil || errors.Is(err, storage.ErrNotFound) && v.epochs.last.Number > 1:
	case err != nil:
		v.wrong("certificate", c.Index, c.Serial.String(), "its intent, entry %d, replaces the certificate %x, which cannot be read: %v", c.Index, c.Intent.Replaces, err)
	case before.Index >= c.Index:
		v.wrong("certificate", c.Index, c.Serial.String(), "its intent, entry %d, replaces the certificate of entry %d, which came later", c.Index, before.Index)
	}
}

// tbsOf is the TBSCertificate inside a certificate's DER.
func tbsOf(der []byte) ([]byte, error) {
	s := cryptobyte.String(der)
	var certificate, tbs cryptobyte.String
	if !s.ReadASN1(&certificate, asn1.SEQUENCE) || !s.Empty() || !certificate.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, errNotDER
	}
	return tbs, nil
}
