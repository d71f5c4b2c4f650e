package ledger

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/proof"
	"github.com/certwright/certwright/storage"
)

// File is the proof as a self-contained file: C2SP tlog-proof, whose extra data is
// the entry. It needs the checkpoint.
func (p Proof) File() ([]byte, error) {
	return proof.Proof{Entry: p.Entry, Index: p.Index, Path: p.Path, Checkpoint: p.Checkpoint}.Marshal()
}

// OpenProof reads a proof file and checks all of it: the signature under the
// verifier key, which is that of any epoch, and that the entry is in the tree that was signed. It needs no
// server and no store.
func OpenProof(file []byte, verifierKey string) (Proof, Checkpoint, error) {
	if verifierKey == "" {
		return Proof{}, Checkpoint{}, errors.New("a proof is checked with the ledger's verifier key")
	}
	f, err := proof.Parse(file)
	if err != nil {
		return Proof{}, Checkpoint{}, err
	}
	cp, err := ParseAnyEpoch(f.Checkpoint, verifierKey)
	if err != nil {
		return Proof{}, Checkpoint{}, err
	}
	if err := f.Check(cp.Size, cp.Root); err != nil {
		return Proof{}, cp, err
	}
	return Proof{
		Index: f.Index, Entry: f.Entry, Leaf: f.Leaf(), Path: f.Path, Size: cp.Size, Root: cp.Root, Checkpoint: f.Checkpoint,
	}, cp, nil
}

// MatchCertificate tells whether the entry is the intent of this certificate: its
// TBSCertificate is the entry's octet for octet. With the issuer's certificate the
// signature is checked too, and that the entry names this issuer.
func MatchCertificate(raw, der []byte, issuer *x509.Certificate) error {
	e, err := entry.Parse(raw)
	if err != nil {
		return fmt.Errorf("the entry cannot be read: %w", err)
	}
	if e.Kind != entry.IssuanceIntent {
		return fmt.Errorf("the entry is a %s: it stands for no certificate", e.Kind)
	}
	intent, err := entry.ParseIntent(e.Draft)
	if err != nil {
		return fmt.Errorf("the entry cannot be read: %w", err)
	}
	tbs, err := tbsOf(der)
	if err != nil {
		return fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if !bytes.Equal(tbs, intent.TBS) {
		return errors.New("the certificate's TBSCertificate is not that of the entry: the entry is another certificate's")
	}
	if issuer == nil {
		return nil
	}
	id, err := identity.KeyIDOf(issuer.PublicKey)
	if err != nil {
		return err
	}
	if id != identity.KeyID(intent.Issuer) {
		return fmt.Errorf("the entry names another issuer than %s", issuer.Subject)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if err := issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return fmt.Errorf("the certificate's signature does not hold under %s: %w", issuer.Subject, err)
	}
	return nil
}

// StoredCheckpoint is the newest checkpoint in a store, for readers without a Log.
// Its Note is nil if there is none. The verifier key may be empty: then its form
// alone is checked.
func StoredCheckpoint(ctx context.Context, s storage.RecordReader, verifierKey string) (Checkpoint, error) {
	last, err := readStored(ctx, s, verifierKey)
	return last.Checkpoint, err
}
