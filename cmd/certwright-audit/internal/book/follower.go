package book

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/merkle"
)

// Config of a Follower.
type Config struct {
	// Source is the published ledger.
	Source Source
	// Keys are the verifier keys of the log; one of them signs its checkpoints.
	Keys []Key
	// Dir is the auditor's folder; it is made if it is not there.
	Dir string
	// Rules reads a policy document; nil: the bounds of certificates are not checked.
	Rules ReadRules
	// Previous are folders or servers with the end of an epoch that has ended: what
	// was not seen of it is read there.
	Previous []Source
	// AcceptEpoch takes a new epoch as it is, with a finding.
	AcceptEpoch bool
	// Witnesses of whom Need must have cosigned each checkpoint.
	Witnesses []note.Verifier
	Need      int
	// Report takes the findings; they are kept in the folder, too.
	Report Report
	// Notice takes what is worth knowing and no finding; nil: nobody does.
	Notice func(Notice)
	// Progress is told of entries read, now and then; nil: nobody.
	Progress func(done, total uint64)
}

// Follower follows one ledger.
type Follower struct {
	config  Config
	state   *state
	mirror  *mirror
	intents *intents
	rules   Rules
	lock    *os.File
	report  Report
	found   int
	checked time.Time // when the copy was last seen to be whole
}

// OpenFollower opens an auditor's folder.
func OpenFollower(c Config) (*Follower, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	held, err := lock(c.Dir)
	if err != nil {
		return nil, err
	}
	f := &Follower{config: c, mirror: newMirror(c.Dir), lock: held}
	f.report = f.Keep
	if err := f.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// load reads what the folder remembers.
func (f *Follower) load() (err error) {
	c := &f.config
	if f.state, err = load(c.Dir, c.Keys); err != nil {
		return err
	}
	if err := f.mirror.restore(f.state.cp.Epoch); err != nil {
		return err
	}
	if f.intents, err = openIntents(c.Dir, f.state.Intents); err != nil {
		return err
	}
	if f.state.Policy != nil && c.Rules != nil {
		// One that cannot be read was reported when it came.
		f.rules, _ = c.Rules(f.state.Policy)
	}
	return nil
}

// Close gives the folder free.
func (f *Follower) Close() error {
	var err error
	if f.intents != nil {
		err = f.intents.close()
	}
	return errors.Join(err, f.lock.Close())
}

// Checkpoint is the last one that was accepted; its Note is nil if there is none.
func (f *Follower) Checkpoint() Checkpoint { return f.state.cp }

// Epoch is that of the checkpoint; 0: there is none yet.
func (f *Follower) Epoch() uint64 { return f.state.cp.Epoch }

// Found counts the findings since the folder was opened.
func (f *Follower) Found() int { return f.found }

// Keep writes a finding down before it is reported, and counts it.
func (f *Follower) Keep(finding Finding) {
	f.found++
	err := f.write(findingsFile, struct {
		Time time.Time `json:"time"`
		Finding
	}{time.Now().UTC(), finding})
	if f.config.Report == nil {
		return
	}
	f.config.Report(finding)
	if err != nil {
		f.config.Report(Finding{Kind: KindState, Subject: findingsFile, Detail: "the finding could not be written down: " + err.Error()})
	}
}

// notice writes a notice down and passes it on.
func (f *Follower) notice(subject, format string, args ...any) {
	n := Notice{Subject: subject, Detail: fmt.Sprintf(format, args...)}
	err := f.write(noticesFile, struct {
		Time time.Time `json:"time"`
		Notice
	}{time.Now().UTC(), n})
	if err != nil {
		f.report.of(KindState, noticesFile, "a notice could not be written down: %v", err)
	}
	if f.config.Notice != nil {
		f.config.Notice(n)
	}
}

// write adds a line of JSON to a file of the folder.
func (f *Follower) write(name string, what any) error {
	line, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return appendLine(filepath.Join(f.config.Dir, name), line)
}

func appendLine(path string, line []byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return errors.Join(err, out.Sync(), out.Close())
}

// Step looks at the source once: it takes the newest checkpoint and reads what is
// new. What does not hold is reported; the error says that it could not look.
func (f *Follower) Step(ctx context.Context) error {
	data, err := f.config.Source.Read(ctx, "checkpoint", MaxCheckpoint)
	if err != nil {
		return fmt.Errorf("%s: %w", f.config.Source, err)
	}
	cp, err := Open(data, f.config.Keys)
	if err != nil {
		f.report.of(KindForged, f.config.Source.String(), "%v", err)
		return nil
	}
	if f.config.Need > 0 {
		if n := Cosigned(cp.Note, f.config.Witnesses); n < f.config.Need {
			f.report.of(KindWitness, f.config.Source.String(), "%d of %d witnesses have cosigned the checkpoint of %d entries, and %d must", n, len(f.config.Witnesses), cp.Size, f.config.Need)
		}
	}
	t := newTree(f.config.Source, cp)
	accepted, err := f.accept(ctx, t)
	if err == nil && accepted {
		err = f.read(ctx, t)
	}
	if errors.Is(err, errServed) {
		f.report.of(KindServed, f.config.Source.String(), "%v", err)
		return nil
	}
	return err
}

// accept holds a signed tree against the last one, and remembers it if it contains
// that, or is of an epoch that follows it.
func (f *Follower) accept(ctx context.Context, t *tree) (bool, error) {
	old := f.state.cp
	switch {
	case old.Note == nil:
	case t.Ledger != old.Ledger:
		f.report.of(KindOrigin, t.source.String(), "the checkpoint is of %q, the one before of %q", t.Origin, old.Origin)
		return false, nil
	case t.Epoch > old.Epoch:
		return f.follow(ctx, t)
	case t.Epoch < old.Epoch:
		f.report.of(KindShorter, t.source.String(), "it shows %s, and epoch %d was seen: the later epoch is gone", t.Checkpoint, old.Epoch)
		return false, f.evidence(old, t.Checkpoint)
	default:
		same, err := t.contains(ctx, old)
		if err != nil {
			return false, err
		}
		if !same {
			return f.astray(ctx, t)
		}
		if t.Size == old.Size {
			return true, nil
		}
	}
	f.state.cp = t.Checkpoint
	return true, f.state.save(f.config.Dir)
}

// contains tells whether the tree begins with the one of old.
func (t *tree) contains(ctx context.Context, old Checkpoint) (bool, error) {
	switch {
	case t.Size < old.Size:
		return false, nil
	case t.Size == old.Size:
		return t.Root == old.Root, nil
	case old.Size == 0:
		return true, nil
	}
	root, err := t.rootAt(ctx, old.Size)
	return root == old.Root, err
}

// astray keeps a signed tree that does not contain the last one, and says how
// history was rewritten.
func (f *Follower) astray(ctx context.Context, t *tree) (bool, error) {
	if err := f.evidence(f.state.cp, t.Checkpoint); err != nil {
		return false, err
	}
	return f.contradicted(ctx, t)
}

// contradicted reports how a signed tree differs from the last one.
func (f *Follower) contradicted(ctx context.Context, t *tree) (bool, error) {
	old := f.state.cp
	switch {
	case t.Size == old.Size:
		f.report.of(KindFork, t.source.String(), "the tree of %d entries has the root %x, and had %x: both are signed by the log", t.Size, t.Root, old.Root)
	case t.Size < old.Size:
		f.report.of(KindShorter, t.source.String(), "the tree has %d entries, and had %d: %d are gone", t.Size, old.Size, old.Size-t.Size)
	default:
		f.report.of(KindChanged, t.source.String(), "the first %d of %d entries are not those that were there: no root of the new tree is %x", old.Size, t.Size, old.Root)
	}
	hashes, err := t.hashes(ctx)
	if err != nil {
		return false, err
	}
	was := view{f.mirror.hashes(f.state.edge), f.state.edge.Size()}
	return false, f.difference(ctx, t, was, view{hashes, t.Size})
}

// evidence keeps checkpoints that contradict each other.
func (f *Follower) evidence(all ...Checkpoint) error {
	dir := filepath.Join(f.config.Dir, evidence)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, cp := range all {
		if err := WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%x.checkpoint", cp.Size, cp.Root[:8])), cp.Note); err != nil {
			return err
		}
	}
	return nil
}

// saveEvery is after how many bundles the state is saved while entries are read.
const saveEvery = 64

// read reads the entries up to the tree's size, each proven to be in it.
func (f *Follower) read(ctx context.Context, t *tree) error {
	s := f.state
	if err := f.mend(ctx, t); err != nil {
		return err
	}
	if s.edge.Size() == t.Size {
		return nil
	}
	hashes, err := t.hashes(ctx)
	if err != nil {
		return err
	}
	for done := 1; s.edge.Size() < t.Size; done++ {
		n := s.edge.Size() / merkle.TileWidth
		if err := f.bundle(ctx, t, hashes, n); err != nil {
			return err
		}
		if f.config.Progress != nil {
			f.config.Progress(s.edge.Size(), t.Size)
		}
		if done%saveEvery == 0 {
			if err := f.save(); err != nil {
				return err
			}
		}
	}
	root, err := s.edge.Root()
	if err != nil {
		return err
	}
	if root != t.Root {
		return fmt.Errorf("the root of the entries is %x, not %x: %w", root, t.Root, errServed)
	}
	if last := s.lastEpoch(); last != t.Epoch {
		f.report.of(KindOrigin, t.source.String(), "the checkpoint is of %q, and its last entry is of epoch %d", t.Origin, last)
	}
	if err := f.mirror.partial(s.edge); err != nil {
		return err
	}
	if err := f.save(); err != nil {
		return err
	}
	return WriteFile(filepath.Join(f.config.Dir, "checkpoint"), t.Note)
}

// save makes all that was read durable.
func (f *Follower) save() (err error) {
	if f.state.Intents, err = f.intents.sync(); err != nil {
		return err
	}
	if err := f.mirror.flush(); err != nil {
		return err
	}
	if err := f.state.save(f.config.Dir); err != nil {
		return err
	}
	return f.mirror.tidy()
}
