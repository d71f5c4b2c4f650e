package main

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// fileCheck is a check of a ledger's file.
type fileCheck struct {
	file       string
	signatures bool
	// issuers are files with CA certificates, for signatures; none: that in the data
	// folder around the file.
	issuers []string
	// checkpoint is a file with a checkpoint that the ledger must contain, in place of
	// the last-seen file, and key the verifier key of its signer. quick: nothing else is
	// compared.
	checkpoint, key string
	quick           bool
	// scrub: only what the store itself can see.
	scrub bool
}

// verifyFile verifies the ledger of a stopped server, with what lies beside it:
// the issuing certificates, the last-seen file, the checkpoint key. It runs in a
// process of its own: see verifyInChild.
func (a *app) verifyFile(ctx context.Context, check fileCheck, show func(done, total uint64)) (checked, error) {
	var result checked
	file := check.file
	if err := readable(file); err != nil {
		return result, err
	}
	var verify ledger.VerifyConfig
	var key *ledgerKey
	var err error
	if !check.scrub {
		if verify, key, err = a.besides(ctx, check); err != nil {
			return result, err
		}
	}
	if err := a.issuers(check, &verify); err != nil {
		return result, err
	}
	result.Findings, err = pages(ctx, file)
	if err != nil {
		return damaged(result, err)
	}
	if len(result.Findings) > 0 {
		return result, nil // what else is wrong follows from it, or cannot be told
	}
	store, err := bolt.Open(ctx, bolt.Config{Path: file, ReadOnly: true})
	if err != nil {
		return damaged(result, err)
	}
	defer store.Close() //nolint:errcheck // only read
	if key != nil {
		if verify.VerifierKey, err = ledger.CurrentVerifierKey(ctx, store, key.origin, key.public); err != nil {
			return damaged(result, &problem.Problem{Reason: reasonUnreadable, Detail: err.Error()})
		}
	}
	if check.scrub {
		return scrubFile(ctx, store, show)
	}
	if check.quick {
		return quickCheck(ctx, store, verify)
	}
	verify.Store, verify.Progress = store, show
	verify.Records = []ledger.RecordCheck{ca.CheckPolicies(), ca.CheckBlockedKeys(ctx, store), token.CheckRecords(time.Now()), session.CheckRecords()}
	summary, err := ledger.Verify(ctx, verify, result.add)
	result.Entries, result.Root = summary.Entries, hex.EncodeToString(summary.Root[:])
	if err != nil && ctx.Err() == nil { // what cannot be read to the end does not hold
		return damaged(result, &problem.Problem{Reason: reasonUnreadable, Detail: err.Error()})
	}
	return result, err
}

// issuers are those that the signatures of certificates are checked with.
func (a *app) issuers(check fileCheck, verify *ledger.VerifyConfig) error {
	if len(check.issuers) > 0 {
		verify.Issuers = nil
	}
	for _, each := range check.issuers {
		certificates, err := a.readCertificates(each)
		if err != nil {
			return err
		}
		verify.Issuers = append(verify.Issuers, certificates...)
	}
	if verify.Signatures = check.signatures; check.signatures && len(verify.Issuers) == 0 {
		return usagef("--signatures needs the issuer's certificate, and there is no %s beside %s; name it with --issuer", datadir.IssuingCRT, check.file)
	}
	return nil
}

// add takes up a finding.
func (c *checked) add(f storage.Finding) {
	found := finding{Kind: f.Kind, Subject: f.Subject, Detail: f.Detail}
	if f.Index != storage.NoIndex {
		found.Index = &f.Index
	}
	c.Findings = append(c.Findings, found)
}

// scrubFile is the store's own check.
func scrubFile(ctx context.Context, store *bolt.Store, show func(done, total uint64)) (checked, error) {
	var result checked
	head, err := store.Head(ctx)
	if err == nil {
		result.Entries, result.Root = head.Size, hex.EncodeToString(head.Root[:])
		err = store.Scrub(ctx, show, result.add)
	}
	if err != nil && ctx.Err() == nil {
		return damaged(result, &problem.Problem{Reason: reasonUnreadable, Detail: err.Error()})
	}
	return result, err
}

// maxPageFindings is after how many findings about pages the check ends: one damaged
// page can lead to any number.
const maxPageFindings = 20

// pages checks the structure of the file's pages.
func pages(ctx context.Context, file string) ([]finding, error) {
	var found []finding
	err := bolt.CheckPages(ctx, file, func(detail string) bool {
		found = append(found, finding{Kind: "database", Subject: "pages", Detail: detail})
		return len(found) < maxPageFindings
	})
	return found, err
}

// quickCheck compares the ledger with the checkpoint alone.
func quickCheck(ctx context.Context, store *bolt.Store, verify ledger.VerifyConfig) (checked, error) {
	var result checked
	head, err := store.Head(ctx)
	if err != nil {
		return damaged(result, &problem.Problem{Reason: reasonUnreadable, Detail: err.Error()})
	}
	result.Entries, result.Root = head.Size, hex.EncodeToString(head.Root[:])
	signed, err := plainfile.Read(verify.Lock, maxInput)
	if err != nil {
		return result, err
	}
	cp, err := ledger.ParseCheckpoint(signed, verify.VerifierKey)
	if err == nil {
		err = ledger.Contains(ctx, store, cp)
	}
	if err != nil {
		result.Findings = append(result.Findings, finding{Kind: "checkpoint", Subject: "published checkpoint", Detail: err.Error()})
	}
	return result, ctx.Err()
}

// besides is what a file is compared with: the checkpoint that is given, or what lies
// around it.
func (a *app) besides(ctx context.Context, check fileCheck) (ledger.VerifyConfig, *ledgerKey, error) {
	if check.checkpoint != "" {
		return ledger.VerifyConfig{Lock: check.checkpoint, VerifierKey: check.key}, nil, nil
	}
	return a.beside(ctx, filepath.Dir(check.file))
}

// reasonUnreadable is how the storage says that the file cannot be read.
const reasonUnreadable = "DATABASE_UNREADABLE"

// damaged makes a finding of a file that cannot be read; other errors (locked,
// no permission) stay errors.
func damaged(result checked, err error) (checked, error) {
	var p *problem.Problem
	if !errors.As(err, &p) || p.Reason != reasonUnreadable {
		return result, err
	}
	result.Findings = append(result.Findings, finding{Kind: "database", Subject: "file", Detail: p.Error()})
	return result, nil
}

// beside reads from a data folder what a verification compares the ledger with. A
// copy of the ledger alone is verified without.
func (a *app) beside(ctx context.Context, dir string) (ledger.VerifyConfig, *ledgerKey, error) {
	var verify ledger.VerifyConfig
	format, err := datadir.Read(dir)
	if err != nil {
		a.note("There is no data folder around it: the last-seen file and the checkpoint's signature are not compared.")
		return verify, nil, nil //nolint:nilerr // it is only what can be compared
	}
	settings, err := config.Load(config.Sources{
		Flags: map[string]string{"data": dir}, Environ: os.Environ(), Dev: format.Mode == datadir.Dev,
	})
	if err != nil {
		return verify, nil, badSettings(exitUsage, err)
	}
	c := settings.Config
	verify.Lock = c.Path(c.Ledger.Lock) // that it is missing is a finding
	if certificate := filepath.Join(dir, datadir.IssuingCRT); exists(certificate) {
		if verify.Issuers, err = a.readCertificates(certificate); err != nil {
			return verify, nil, err
		}
	}
	key, err := checkpointKey(ctx, c)
	if err != nil {
		a.note("The checkpoint's signature is not checked: %v", err)
		return verify, nil, nil
	}
	return verify, &ledgerKey{c.Ledger.Origin, key}, nil
}

// ledgerKey is the key of the checkpoints, with the origin of the first epoch.
type ledgerKey struct {
	origin string
	public crypto.PublicKey
}

// checkpointKey is the public key that signed the checkpoints.
func checkpointKey(ctx context.Context, c config.Config) (crypto.PublicKey, error) {
	signer, err := keys.Open(ctx, keys.Config{URI: c.Ledger.CheckpointKey, Dir: c.Data, Passphrase: c.Passphrase()})
	if err != nil {
		return nil, err
	}
	return signer.Public(), nil
}
