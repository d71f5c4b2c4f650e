package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/client/steady"
	"github.com/certwright/certwright/problem"
)

const (
	reasonRunning = "AGENT_RUNNING"
	reasonFolder  = "AGENT_FOLDER_IN_USE"
	runningFile   = "running" // in the state folder
	folderLock    = ".lock"   // in a certificate's folder
	maxHolder     = 8 << 10
	unlocked      = "unlocked" // stands in runningFile where the file system has no locks for it
)

// errLocked is that another process has a lock.
var errLocked = errors.New("it is locked")

// lockFile locks a file in a folder, which is made if it is not there, and writes who
// has it. If another process has it, holder is what that has written.
func lockFile(at *os.Root, name, text string) (f *os.File, holder string, err error) {
	f, err = at.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // who can open it can lock it
	if errors.Is(err, fs.ErrExist) {
		f, err = ownFile(at, name)
	}
	if err != nil {
		return nil, "", err
	}
	if err = f.Chmod(0o600); err == nil { // one that is there was 0644 once
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		who, _ := io.ReadAll(io.LimitReader(f, maxHolder))
		err, holder = errLocked, strings.TrimSpace(string(who))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(text+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, holder, err
	}
	return f, "", nil
}

// ownFile opens a file that is there, to write to it: our own, and no link.
func ownFile(at *os.Root, name string) (*os.File, error) {
	seen, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	stat, ok := seen.Sys().(*syscall.Stat_t)
	if !seen.Mode().IsRegular() || !steady.Ours(seen) || ok && stat.Nlink > 1 {
		return nil, fmt.Errorf("%s is there and is not the agent's: remove it", filepath.Join(at.Name(), name))
	}
	f, err := at.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if have, err := f.Stat(); err != nil || !os.SameFile(seen, have) {
		_ = f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s was changed meanwhile", filepath.Join(at.Name(), name)))
	}
	return f, nil
}

// takeLock locks the state folder, which two agents must not share.
func takeLock(state string) (_ *stateLock, err error) {
	at, err := steady.Open(state)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	defer func() { _ = at.Close() }()
	f, holder, err := lockFile(at, "lock", fmt.Sprint(os.Getpid()))
	if errors.Is(err, errLocked) {
		return nil, &problem.Problem{
			Kind: problem.Conflict, Reason: reasonRunning, Value: filepath.Join(state, "lock"),
			Detail: fmt.Sprintf("an agent with this state folder is running (process %.32s)", holder),
			Help:   "it renews by itself; stop it first, or use another state folder",
		}
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: lock: %w", err)
	}
	sign, unseen, err := showRunning(at)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state folder: %s: %w", runningFile, err), f.Close())
	}
	return &stateLock{lock: f, sign: sign, unseen: unseen}, nil
}

// stateLock is a state folder's lock, and the sign to everybody that it is held.
type stateLock struct {
	lock, sign *os.File
	unseen     error // why the sign does not show it; nil: it does
}

// Close implements io.Closer.
func (l *stateLock) Close() error { return errors.Join(l.sign.Close(), l.lock.Close()) }

// showRunning makes the file that everybody may read and only we may write, with a write
// lock on it: to see that takes no lock. It is a new file, so that nobody can have locked it
// before. A file system without such locks keeps no agent from running: the file says so,
// and unseen why.
func showRunning(at *os.Root) (f *os.File, unseen, err error) {
	temporary := "." + runningFile + "-" + rand.Text()
	f, err = at.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = at.Remove(temporary)
		}
	}()
	text := fmt.Sprint(os.Getpid())
	if err = unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: unix.F_WRLCK}); lacksLocks(err) {
		text, unseen = text+" "+unlocked, err
	} else if err != nil {
		return nil, nil, err
	}
	if _, err = fmt.Fprintln(f, text); err != nil {
		return nil, nil, err
	}
	if err = errors.Join(f.Chmod(0o644), at.Rename(temporary, runningFile)); err != nil {
		return nil, nil, err
	}
	return f, unseen, nil
}

// lacksLocks tells that a file system, or the kernel, has no record locks of open files:
// EINVAL says so too, for what we ask is always the same.
func lacksLocks(err error) bool {
	for _, lack := range []error{unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOTSUP, unix.EINVAL} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// holdFolder locks a certificate's folder, unless this agent has it already: two agents
// with state folders of their own would publish in turns.
func (a *Agent) holdFolder(dir string) error {
	a.holding.Lock()
	defer a.holding.Unlock()
	if a.held[dir] != nil {
		return nil
	}
	at, err := steady.Make(dir, 0o755)
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }()
	f, holder, err := lockFile(at, folderLock, fmt.Sprintf("%d %s", os.Getpid(), a.config.State))
	if errors.Is(err, errLocked) {
		pid, state, _ := strings.Cut(holder, " ")
		return &problem.Problem{
			Kind: problem.Conflict, Reason: reasonFolder, Value: dir,
			Detail: fmt.Sprintf("another agent keeps the folder %s: process %.32q with the state folder %.512q", dir, pid, state),
			Help:   "stop it first, or use another folder",
		}
	}
	if err != nil {
		return err
	}
	a.held[dir] = f
	return nil
}

// leaveFolders gives back the folders that a configuration does not name; all, if there
// is none.
func (a *Agent) leaveFolders(keepers []*keeper) (err error) {
	a.holding.Lock()
	defer a.holding.Unlock()
	named := map[string]bool{}
	for _, k := range keepers {
		named[k.folder.Dir] = true
	}
	for dir, f := range a.held {
		if !named[dir] {
			err = errors.Join(err, f.Close())
			delete(a.held, dir)
		}
	}
	return err
}

// inUse tells whether an error is that another agent has a certificate's folder.
func inUse(err error) bool {
	var p *problem.Problem
	return errors.As(err, &p) && p.Reason == reasonFolder
}

// errNoLocks is why nobody can see whether an agent runs that said so when it started.
var errNoLocks = errors.New("the file system of its state folder gave it no record lock")

// Running tells whether an agent has the lock of a state folder, to whoever may look into
// it; unknown is why that cannot be told. No lock is taken, so that no agent that starts
// meanwhile meets one, and nothing is waited for, whatever the folder's owner has put there.
func Running(state string) (running bool, unknown error) {
	path := filepath.Join(state, runningFile)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false, errors.Join(err, fmt.Errorf("%s is not the agent's file", path))
	}
	// Only a write lock is in the way of a read lock, and who may only read has none.
	seen := unix.Flock_t{Type: unix.F_RDLCK}
	err = unix.FcntlFlock(f.Fd(), getLock, &seen)
	if locked := err == nil && seen.Type == unix.F_WRLCK; locked && lockNamesNobody {
		return true, nil // unread: where locks are mandatory nobody may read now
	}
	holder, unreadable := io.ReadAll(io.LimitReader(f, maxHolder))
	pid, rest, _ := strings.Cut(strings.TrimSpace(string(holder)), " ")
	switch {
	case errors.Join(err, unreadable) != nil:
		return false, errors.Join(err, unreadable)
	case rest == unlocked:
		return false, errNoLocks
	case seen.Type != unix.F_WRLCK:
		return false, nil
	case fmt.Sprint(seen.Pid) != pid:
		return false, fmt.Errorf("process %d, which is not the agent, has locked %s", seen.Pid, path)
	}
	return true, nil
}
