package book

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Notice is something that is worth knowing and no finding. It is kept, too.
type Notice struct {
	Subject string `json:"subject"`
	Detail  string `json:"detail"` // one sentence
}

func (n Notice) String() string { return n.Subject + ": " + n.Detail }

// follow takes up a signed tree of a later epoch, if it goes on from what was seen as
// an honest recovery does (docs/ledger.md, Epochs).
func (f *Follower) follow(ctx context.Context, t *tree) (bool, error) {
	old := f.state.cp
	whole, err := t.contains(ctx, old)
	if err != nil {
		return false, err
	}
	same := f.state.edge.Size()
	if !whole {
		if same, err = f.parting(ctx, t); err != nil {
			return false, err
		}
	}
	all, err := t.openings(ctx, same, f.chain(same))
	if err != nil && !errors.Is(err, errChain) {
		return false, err
	}
	if err == nil && len(all) > 0 {
		var more bool
		if more, err = f.catchUp(ctx, all[0].previous); more {
			return f.follow(ctx, t)
		}
		if err != nil && !errors.Is(err, errChain) {
			return false, err
		}
	}
	if whole {
		return f.goOn(t, all, err)
	}
	var g opening
	if err == nil {
		g, err = cut(old, same, all)
	}
	if err != nil {
		return f.refused(ctx, t, same, all, err)
	}
	return true, f.begin(t, g.Index, all)
}

// parting is how many entries a tree and the copy both begin with.
func (f *Follower) parting(ctx context.Context, t *tree) (uint64, error) {
	hashes, err := t.hashes(ctx)
	if err != nil {
		return 0, err
	}
	return firstDifference(ctx, view{f.mirror.hashes(f.state.edge), f.state.edge.Size()}, view{hashes, t.Size})
}

// goOn takes up a tree that contains all that was seen.
func (f *Follower) goOn(t *tree, all []opening, wrong error) (bool, error) {
	old := f.state.cp
	if wrong != nil {
		f.report.of(KindEpoch, t.source.String(), "%v", wrong)
		if !f.config.AcceptEpoch {
			return false, f.evidence(old, t.Checkpoint)
		}
	}
	f.state.cp = t.Checkpoint
	if err := f.state.save(f.config.Dir); err != nil {
		return false, err
	}
	for _, g := range all {
		f.notice(t.source.String(), "epoch %d begins at entry %d and contains what was seen, %s; %d entries of epoch %d that were not seen are lost to the ledger",
			g.Epoch, g.Index, old, g.previous.Size-g.Index, g.previous.Epoch)
	}
	return true, nil
}

// refused says why a tree of a later epoch is not taken; or takes it, if that was
// asked for.
func (f *Follower) refused(ctx context.Context, t *tree, same uint64, all []opening, wrong error) (bool, error) {
	reason := wrong.Error()
	read := f.state.edge.Size()
	switch {
	case len(all) > 0 && same == read && read < f.state.cp.Size && all[0].Index > read:
		reason = fmt.Sprintf("%v: of %s only %d entries were read before epoch %d began at entry %d, and nothing shows that it has the others; name a folder or URL that has them with --previous",
			errChain, f.state.cp, read, all[0].Epoch, all[0].Index)
	case len(all) > 0 && all[0].previous.Epoch > f.state.cp.Epoch:
		reason += "; name a folder or URL that has its end with --previous"
	}
	f.report.of(KindEpoch, t.source.String(), "%s", reason)
	if err := f.evidence(f.state.cp, t.Checkpoint); err != nil {
		return false, err
	}
	for _, g := range all {
		if err := f.evidence(g.previous); err != nil {
			return false, err
		}
	}
	if !f.config.AcceptEpoch {
		return f.contradicted(ctx, t)
	}
	f.report.of(KindEpoch, t.source.String(), "the new epoch was accepted although it does not follow what was seen")
	return true, f.begin(t, same, all)
}

// catchUp reads the end of an epoch that has ended, as far as it was not seen, from
// the sources that were named for it. The error is errChain if one shows that the end
// does not follow what was seen.
func (f *Follower) catchUp(ctx context.Context, end Checkpoint) (bool, error) {
	if end.Epoch < f.state.cp.Epoch || end.Epoch == f.state.cp.Epoch && (end.Size < f.state.cp.Size || end.Size == f.state.edge.Size()) {
		return false, nil
	}
	for _, source := range f.config.Previous {
		t := newTree(source, end)
		if _, err := t.rootAt(ctx, end.Size); errors.Is(err, errServed) {
			continue // it has another ledger, or not all of this one
		} else if err != nil {
			return false, fmt.Errorf("%s: %w", source, err)
		}
		accepted, err := f.accept(ctx, t)
		if err == nil && accepted {
			err = f.read(ctx, t)
		}
		if err == nil && !accepted {
			err = fmt.Errorf("%w: its genesis names %s, which does not follow what was seen", errChain, end)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", source, err)
		}
		return true, nil
	}
	return false, nil
}

// begin takes up a tree that begins with the first entries of the copy, as many as
// keep says, and goes on as later epochs. What was there is kept apart.
func (f *Follower) begin(t *tree, keep uint64, all []opening) error {
	if err := f.save(); err != nil {
		return err
	}
	old, read := f.state.cp, f.state.edge.Size()
	next, err := f.cutAt(keep)
	if err != nil {
		return err
	}
	archive, err := f.mirror.archive(old.Epoch, next.edge)
	if err != nil {
		return err
	}
	next.cp = t.Checkpoint
	if err := next.save(f.config.Dir); err != nil {
		return errors.Join(err, f.mirror.restore(old.Epoch))
	}
	f.state, f.rules = next, nil
	if next.Policy != nil && f.config.Rules != nil {
		f.rules, _ = f.config.Rules(next.Policy) // one that cannot be read was reported
	}
	f.notice(t.source.String(), "%s", linked(old, read, keep, archive, all))
	return nil
}

// linked tells of an epoch that follows what was seen.
func linked(old Checkpoint, read, keep uint64, archive string, all []opening) string {
	var b strings.Builder
	if len(all) == 0 {
		fmt.Fprintf(&b, "a new epoch begins at entry %d", keep)
	} else {
		g := all[0]
		fmt.Fprintf(&b, "epoch %d begins at entry %d and is linked to epoch %d, %s of which were seen", g.Epoch, g.Index, old.Epoch, counted(old.Size, "entry", "entries"))
	}
	if read > keep {
		fmt.Fprintf(&b, "; entries %d to %d of epoch %d (%d) were seen and are lost to the ledger: %s has them", keep, read-1, old.Epoch, read-keep, archive)
	}
	if len(all) > 0 {
		p := all[0].previous
		if from := max(read, keep); p.Epoch == old.Epoch && p.Size > from {
			fmt.Fprintf(&b, "; entries %d to %d (%d) are lost and were not read here", from, p.Size-1, p.Size-from)
		}
		if p.Epoch == old.Epoch && p.Size > old.Size {
			fmt.Fprintf(&b, "; that the %d seen lie before the %d that the genesis names is not shown: --previous names a folder or URL that has them", old.Size, p.Size)
		}
	}
	for _, g := range all[min(1, len(all)):] {
		fmt.Fprintf(&b, "; epoch %d begins at entry %d, %s of epoch %d being lost", g.Epoch, g.Index, counted(g.previous.Size-g.Index, "entry", "entries"), g.previous.Epoch)
	}
	return b.String()
}

func counted(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
