package diskfault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Verdict is what becomes of a call. The zero Verdict lets it happen.
type Verdict struct {
	// Errno is what the call fails with; nothing is done.
	Errno unix.Errno
	// Pretend says that it was done, and does nothing.
	Pretend bool
	// Free, if greater than 0, is the free space, in octets, that a Space call
	// is told.
	Free uint64
}

// Disk is what processes started by Start have between themselves and a folder.
type Disk struct {
	// Folder is the absolute path of the folder; what lies elsewhere is not seen.
	Folder string
	// Judge decides on each call of the folder, one at a time. nil: all happen.
	Judge func(Call) Verdict
	// Record keeps the calls that change or sync something and that happened.
	Record bool

	mu     sync.Mutex
	count  int
	judge  func(Call) Verdict
	calls  []Call
	marks  []Call
	before map[string][]byte // files by path, as they were at the first start
	inodes map[uint64]*known
	files  int // numbers given
	err    error
	served sync.WaitGroup
}

// Start starts cmd behind the disk. Whatever it starts is behind it too.
func (d *Disk) Start(cmd *exec.Cmd) error {
	if d.before == nil {
		if err := d.look(); err != nil {
			return err
		}
	}
	d.SetJudge(d.Judge)
	started := make(chan error, 1)
	go d.start(cmd, started)
	return <-started
}

// start starts cmd from a thread with the filter, which what it forks inherits.
// Never unlocked, the thread ends with the goroutine; the process's first thread
// would not end, and keep the filter.
func (d *Disk) start(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		again := make(chan error, 1)
		go d.start(cmd, again)
		started <- <-again
		runtime.UnlockOSThread()
		return
	}
	listener, err := listen()
	if err != nil {
		started <- fmt.Errorf("diskfault: seccomp: %w", err)
		return
	}
	d.served.Go(func() { d.serve(listener) })
	started <- cmd.Start()
}

// known is what is known of a file.
type known struct {
	number int
	seen   bool // each of its writes is seen
	length int  // when its content was last read, if not; -1: never
}

// number gives a file its number. Inodes are used again, numbers are not.
func (d *Disk) number(inode uint64) *known {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.inodes[inode]
	if k == nil {
		d.files++
		k = &known{number: d.files, length: -1}
		d.inodes[inode] = k
	}
	return k
}

// forget is told of a file that loses a name.
func (d *Disk) forget(info os.FileInfo) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink > 1 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inodes, stat.Ino)
}

// look remembers the files of the folder as they are.
func (d *Disk) look() error {
	var err error
	if d.Folder, err = filepath.EvalSymlinks(d.Folder); err != nil {
		return err
	}
	d.before, d.inodes = map[string][]byte{}, map[uint64]*known{}
	return filepath.WalkDir(d.Folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // a folder of the test's own
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.Folder, path)
		d.before[name] = content
		return err
	})
}

// SetJudge changes Judge while processes run.
func (d *Disk) SetJudge(judge func(Call) Verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.judge = judge
}

// Count is how many calls the folder has seen: what had happened when it was n is
// in the first n calls.
func (d *Disk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Wait waits until no process is behind the disk any more. The error is the
// disk's own: a call that it could not read.
func (d *Disk) Wait() error {
	d.served.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Recording is what was recorded. The processes must have ended.
func (d *Disk) Recording() (Recording, error) {
	if err := d.Wait(); err != nil {
		return Recording{}, err
	}
	return Recording{Before: d.before, Calls: d.calls, Marks: d.marks, Count: d.count}, nil
}

// decide counts a call, asks the judge and records it.
func (d *Disk) decide(c Call, content []byte) (Call, Verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.N = d.count
	d.count++
	var v Verdict
	if d.judge != nil {
		v = d.judge(c)
	}
	if d.Record && c.Kind == Mark {
		d.marks = append(d.marks, c)
	}
	if !d.Record || !c.Changes() || v.Errno != 0 || v.Pretend {
		return c, v
	}
	if content != nil { // written by calls that are not seen
		d.calls = append(d.calls, Call{N: c.N, Kind: Write, Path: c.Path, File: c.File, Data: content})
	}
	if c.Kind != Sync { // which is recorded when it is done
		d.calls = append(d.calls, c)
	}
	return c, v
}

func (d *Disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = errors.Join(d.err, err)
}
