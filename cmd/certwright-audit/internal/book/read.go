package book

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// bundle reads one bundle of the tree, proves it, and takes in what is new in it.
func (f *Follower) bundle(ctx context.Context, t *tree, hashes tlog.HashReader, n uint64) error {
	entries, leaves, err := t.proven(ctx, hashes, n)
	if err != nil {
		return err
	}
	first, width := n*merkle.TileWidth, len(entries)
	data, err := joinBundle(entries)
	if err != nil {
		return err
	}
	name := bundlePath(n, width)
	if err := f.mirror.write(name, data); err != nil {
		return err
	}
	if width < merkle.TileWidth {
		f.mirror.narrow(name)
	} else {
		f.mirror.full(name)
	}
	for i := f.state.edge.Size() - first; i < uint64(width); i++ {
		if err := f.take(first+i, entries[i], leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

// take adds an entry to the tree that was read.
func (f *Follower) take(index uint64, raw []byte, leaf tlog.Hash) error {
	if err := f.judge(index, raw); err != nil {
		return err
	}
	full, err := f.state.edge.Append(leaf)
	if err != nil {
		return err
	}
	for _, tile := range full {
		name := tilePath(tile.Level, tile.N, merkle.TileWidth)
		if err := f.mirror.write(name, tile.Hashes); err != nil {
			return err
		}
		f.mirror.full(name)
	}
	return nil
}

// entry reads an entry from the copy.
func (f *Follower) entry(index uint64) ([]byte, error) {
	size := f.state.edge.Size()
	if index >= size {
		return nil, fmt.Errorf("entry %d was not read", index)
	}
	n := index / merkle.TileWidth
	t := newTree(Folder(f.config.Dir), Checkpoint{Size: size})
	entries, err := t.bundle(context.Background(), n, widthAt(n, size))
	if err != nil {
		return nil, err
	}
	return entries[index%merkle.TileWidth], nil
}

// describe says in a few words what an entry is.
func describe(raw []byte) string {
	e, err := entry.Parse(raw)
	if err != nil {
		return "no entry: " + err.Error()
	}
	text := fmt.Sprintf("%s of %s by %.64q", e.Kind, e.Time.Format(time.RFC3339Nano), e.Actor)
	if i, err := entry.ParseIntent(e.Draft); err == nil {
		if cert, err := parseTBS(i.TBS); err == nil {
			text += fmt.Sprintf(" of the serial %032x", cert.SerialNumber)
		}
	}
	return text
}

// judge checks the form of one entry, and what it records against what was recorded
// before it. The error is one of this machine's; what does not hold is reported.
func (f *Follower) judge(index uint64, raw []byte) error {
	e, err := entry.Parse(raw)
	if err != nil {
		f.report.at(KindEntry, index, "", "%v", err)
		return nil
	}
	if at := e.Time.UnixMilli(); at < f.state.LastTime {
		f.report.at(KindEntry, index, "", "it is of %s, earlier than the entry before it: %s",
			e.Time.Format(time.RFC3339Nano), time.UnixMilli(f.state.LastTime).UTC().Format(time.RFC3339Nano))
	} else {
		f.state.LastTime = at
	}
	if index == 0 && e.Kind != entry.Genesis {
		f.report.at(KindEntry, index, "", "it is a %s, and the first entry is the genesis", e.Kind)
	}
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		f.report.at(KindEntry, index, "", "%v", err)
		return nil
	}
	switch b := body.(type) {
	case entry.Origin:
		f.genesis(index, b)
		for _, hash := range b.Certificates {
			f.certificate(hash)
		}
	case entry.Issuer:
		f.certificate(b.Certificate)
	case entry.Policy:
		f.policy(index, b)
	case entry.Intent:
		return f.intent(index, e, b)
	case entry.SSH:
		f.underPolicy(index, b.Policy)
		return f.intents.add(intent{tbs: sha256.Sum256(b.Unsigned), epoch: uint32(f.state.epochAt(index)), index: index})
	case entry.Abandoned:
		return f.abandoned(index, b)
	}
	return nil
}

// abandoned checks that what is abandoned is an earlier intent.
func (f *Follower) abandoned(index uint64, a entry.Abandoned) error {
	known, err := f.intents.has(uint32(f.state.epochAt(a.Index)), a.Index)
	if err == nil && (!known || a.Index >= index) {
		f.report.at(KindEntry, index, "", "it abandons entry %d, which is no earlier intent", a.Index)
	}
	return err
}

// genesis begins an epoch.
func (f *Follower) genesis(index uint64, o entry.Origin) {
	c := f.chain(index)
	next, err := c.take(index, o)
	switch {
	case err == nil:
		f.state.Epochs = append(f.state.Epochs, next)
	case next.Index == 0:
		f.report.at(KindOrigin, index, "", "%v", err)
	default:
		f.report.at(KindEpoch, index, "", "%v", err)
		if f.config.AcceptEpoch && next.Epoch > c.last.Epoch {
			f.state.Epochs = append(f.state.Epochs, next) // so that its entries are told from those before
		}
	}
}

// chain is that of the epochs that have begun before an entry.
func (f *Follower) chain(before uint64) chain {
	c := chain{keys: f.config.Keys, ledger: f.state.cp.Ledger}
	for _, each := range f.state.Epochs {
		if each.Index < before {
			c.last = each
		}
	}
	return c
}

// certificate remembers a CA's certificate.
func (f *Follower) certificate(hash [32]byte) {
	if hash != ([32]byte{}) && !has(f.state.Certificates, hash) {
		f.state.Certificates = append(f.state.Certificates, hash[:])
	}
}

// policy takes a policy as the one in force.
func (f *Follower) policy(index uint64, p entry.Policy) {
	f.state.Policy, f.rules = append([]byte{}, p.Document...), nil
	f.state.Policies = append(f.state.Policies, index)
	if f.config.Rules == nil {
		return
	}
	rules, err := f.config.Rules(p.Document)
	if err != nil {
		f.report.at(KindPolicy, index, "", "the policy cannot be read, and what is issued under it cannot be checked: %v", err)
		return
	}
	f.rules = rules
}

// underPolicy checks that an intent names the policy in force.
func (f *Follower) underPolicy(index uint64, hash [32]byte) {
	switch {
	case f.state.Policy == nil:
		f.report.at(KindPolicy, index, "", "there was no policy yet when this was allowed")
	case sha256.Sum256(f.state.Policy) != hash:
		f.report.at(KindPolicy, index, "", "it was allowed under the policy %x, and %x was in force", hash[:8], sha256.Sum256(f.state.Policy))
	}
}

// intent takes in a certificate that was about to be signed.
func (f *Follower) intent(index uint64, e entry.Entry, i entry.Intent) error {
	record := intent{tbs: sha256.Sum256(i.TBS), epoch: uint32(f.state.epochAt(index)), index: index}
	f.underPolicy(index, i.Policy)
	cert, err := parseTBS(i.TBS)
	if err != nil {
		f.report.at(KindEntry, index, "", "%v", err)
		return f.intents.add(record)
	}
	serial, ok := serialKey(cert.SerialNumber)
	if !ok {
		f.report.at(KindEntry, index, "", "the serial %032x is not positive or has more than 128 bits", cert.SerialNumber)
	}
	record.serial = serial
	if f.rules != nil {
		who := Issued{Profile: i.Profile, Grant: i.Grant, Actor: e.Actor, Time: e.Time, Certificate: cert}
		for _, what := range f.rules.Check(who) {
			f.report.at(KindBounds, index, fmt.Sprintf("%032x", cert.SerialNumber), "%s", what)
		}
	}
	return f.intents.add(record)
}
