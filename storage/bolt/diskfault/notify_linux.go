package diskfault

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif.
type notification struct {
	id     uint64
	thread uint32
	_      uint32
	number int32
	_      uint32
	_      uint64
	args   [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// seen are the system calls that are notified. Not write: Go's runtime needs it on
// any thread, and database files are written by pwrite64 alone. What was written
// otherwise is read when it is synced or renamed.
func seen() []uint32 {
	return []uint32{
		unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
		unix.SYS_LINKAT, unix.SYS_UNLINKAT, unix.SYS_FSTATFS,
	}
}

// listen puts the filter on this thread and what it will fork.
func listen() (listener int, err error) {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return -1, fmt.Errorf("not known for %s", runtime.GOARCH)
	}
	const load, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	numbers := seen()
	filter := []unix.SockFilter{
		{Code: load, K: 4}, // the architecture
		{Code: equal, K: arch, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		{Code: load, K: 0}, // the system call's number
	}
	for i, n := range numbers {
		filter = append(filter, unix.SockFilter{Code: equal, K: n, Jt: uint8(len(numbers) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_USER_NOTIF})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// A signal (Go preempts by signals) must not repeat a call that we have seen.
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program))) //nolint:gosec // a system call takes a pointer
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// serve answers until the last process behind the filter has ended.
func (d *Disk) serve(listener int) {
	var syncs sync.WaitGroup
	defer func() {
		syncs.Wait()
		_ = unix.Close(listener)
	}()
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			d.fail(fmt.Errorf("poll: %w", err))
			return
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents != 0 {
				return
			}
			continue
		}
		var n notification
		if errno := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno != 0 { //nolint:gosec // a system call takes a pointer
			continue // it was killed meanwhile
		}
		c, r := d.answer(&n)
		if c.Kind == Sync && d.Record && r.flags == happen().flags {
			syncs.Go(func() { send(listener, &n, d.sync(&n, c)) })
		} else {
			send(listener, &n, r)
		}
	}
}

func send(listener int, n *notification, r response) {
	r.id = n.id
	// ENOENT: it was killed meanwhile.
	_ = control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) //nolint:gosec // a system call takes a pointer
}

func happen() response { return response{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE} }

// sync does a sync in the process's place, so that we know when it is done: what
// another thread does meanwhile comes before that.
func (d *Disk) sync(n *notification, c Call) response {
	f, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", n.thread, int32(n.args[0])))
	if err != nil {
		return happen()
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		d.fail(err)
		return response{value: -1, errno: -int32(unix.EIO)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.Begun, c.N = c.N, d.count
	d.count++
	d.calls = append(d.calls, c)
	return response{}
}

func control(fd int, request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}

// answer reads the call and decides.
func (d *Disk) answer(n *notification) (Call, response) {
	c, content, ours, err := d.read(n)
	if err != nil {
		if !gone(int(n.thread)) {
			d.fail(fmt.Errorf("system call %d: %w", n.number, err))
		}
		return Call{}, happen()
	}
	if !ours {
		return Call{}, happen()
	}
	c, v := d.decide(c, content)
	switch {
	case v.Errno != 0:
		return c, response{value: -1, errno: -int32(v.Errno)}
	case v.Pretend && c.Kind == Write:
		return c, response{value: int64(len(c.Data))}
	case v.Pretend:
		return c, response{}
	case v.Free > 0 && c.Kind == Space:
		if err := tellSpace(n, v.Free); err != nil {
			d.fail(err)
			return c, happen()
		}
		return c, response{}
	}
	return c, happen()
}

// gone tells whether the thread has ended: what it asked for does not matter then.
func gone(thread int) bool {
	return errors.Is(unix.Access(fmt.Sprintf("/proc/%d/mem", thread), unix.F_OK), unix.ENOENT)
}
