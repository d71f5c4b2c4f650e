package bolt

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Scrub implements storage.Scrubber. It is one read transaction: it sees one
// committed state, and pages that writers free meanwhile are used again only
// after it.
//
// First it walks the entries, checks each one's rows, and sums up hashes of the
// rows that must be there because of it; then it walks the buckets and sums up
// what is there. Only where sums differ does it look for which. The hash's seed
// is random, so nobody can prepare rows whose sums agree.
//
// What cannot be read at all, because the file's pages are damaged, is a
// finding too.
func (s *Store) Scrub(
	ctx context.Context, progress func(done, total uint64), report func(storage.Finding),
) error {
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	return s.view(ctx, func(tx *bbolt.Tx) error {
		sc := &scrub{
			tx: tx, certs: tx.Bucket([]byte(bucketCert)), sigs: tx.Bucket([]byte(bucketSig)), report: report, progress: progress, seed: maphash.MakeSeed(), edge: &merkle.Edge{},
			want: map[bucket]sum{}, unreadable: map[uint64]bool{}, revocations: map[uint64]entry.Revoked{},
			abandons: map[uint64]entry.Abandoned{}, crls: map[string]entry.CRL{},
		}
		return sc.run(ctx)
	})
}

// sum stands for a set of rows.
type sum struct{ count, total uint64 }

type scrub struct {
	tx       *bbolt.Tx
	certs    *bbolt.Bucket // asked for each intent
	sigs     *bbolt.Bucket
	report   func(storage.Finding)
	progress func(done, total uint64)
	seed     maphash.Seed
	want     map[bucket]sum

	size      uint64       // of the tree, as the stored edge has it
	edge      *merkle.Edge // as it follows from the entries
	tiles     uint64       // full tiles that follow from the entries
	disagrees bool         // an entry does not have the stored hash

	unreadable map[uint64]bool // intents of which the row is missing or damaged

	// What entries say of certificates and CRLs; what the rows confirm is taken
	// out, and what remains has no row.
	revocations map[uint64]entry.Revoked
	abandons    map[uint64]entry.Abandoned
	crls        map[string]entry.CRL // the newest, by key
	claims      []claim
}

// claim is a row that says something which an entry must confirm.
type claim struct {
	row    row
	issuer identity.KeyID
	serial identity.Serial
}

func (sc *scrub) run(ctx context.Context) error {
	edge, _, err := getEdge(sc.tx)
	if err != nil {
		sc.find("tile", storage.NoIndex, "edge", "the tree's edge cannot be read: %v", err)
	} else {
		sc.size = edge.Size()
	}
	stages := []func() error{
		func() error { return sc.entries(ctx) },
		func() error { return sc.checkTree(edge) },
		sc.checkClaims,
	}
	for _, b := range derived() {
		stages = append(stages, func() error { return sc.compare(ctx, b) })
	}
	stages = append(stages, sc.checkCRLs, sc.checkRecords, sc.checkTokens, sc.checkErasable, sc.checkMeta)
	for _, stage := range stages {
		if err := sc.stage(ctx, stage); err != nil {
			return err
		}
	}
	sc.progress(sc.size, sc.size)
	return nil
}

// stage runs one part of the scrub; pages that it cannot read are a finding, and
// the other parts still run.
func (sc *scrub) stage(ctx context.Context, run func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := func() (err error) {
		defer guard(&err)()
		return run()
	}()
	if errors.Is(err, errDamaged) {
		sc.find("database", storage.NoIndex, "file", "its pages cannot be read: %v", err)
		return nil
	}
	return err
}

func (sc *scrub) find(kind string, index uint64, subject, detail string, args ...any) {
	sc.report(storage.Finding{Kind: kind, Index: index, Subject: subject, Detail: fmt.Sprintf(detail, args...)})
}

// hash is a row's part in the sum of its bucket.
func (sc *scrub) hash(key, value []byte) uint64 {
	return maphash.Bytes(sc.seed, key)*31 ^ maphash.Bytes(sc.seed, value)
}

func (sc *scrub) add(b bucket, key, value []byte) {
	s := sc.want[b]
	s.count++
	s.total += sc.hash(key, value)
	sc.want[b] = s
}

// checkClaims compares what rows say of revocations and abandonments with the
// entries that must say the same.
func (sc *scrub) checkClaims() error {
	for _, c := range sc.claims {
		sc.checkClaim(c)
	}
	for at, e := range sc.revocations {
		if r, err := sc.rowOf(e); err != nil || !sc.unreadable[r.index] {
			sc.find("certificate", at, identity.Serial(e.Serial).String(), "entry %d revokes it, its row does not say so", at)
		}
	}
	for at, e := range sc.abandons {
		if !sc.unreadable[e.Index] {
			sc.find("certificate", at, fmt.Sprintf("entry %d", e.Index), "entry %d abandons it, its row does not say so", at)
		}
	}
	return nil
}

// checkClaim takes what confirms the claim out of what entries say.
func (sc *scrub) checkClaim(c claim) {
	serial := c.serial.String()
	if v := c.row.revocation; v != nil {
		e, ok := sc.revocations[v.index]
		if !ok || e.Issuer != c.issuer || e.Serial != c.serial || e.Reason != uint8(v.reason) || e.At.UnixMilli() != v.at {
			sc.find("certificate", c.row.index, serial, "its row says that entry %d revokes it, which does not say so", v.index)
		}
		delete(sc.revocations, v.index)
	}
	if c.row.state == storage.Abandoned {
		e, ok := sc.abandons[c.row.abandoned]
		if !ok || e.Index != c.row.index {
			sc.find("certificate", c.row.index, serial, "its row says that entry %d abandons it, which does not say so", c.row.abandoned)
		}
		delete(sc.abandons, c.row.abandoned)
	}
}

func (sc *scrub) rowOf(e entry.Revoked) (row, error) {
	key := certKey(e.Issuer, e.Serial)
	return parseRow(key, sc.certs.Get(key))
}
