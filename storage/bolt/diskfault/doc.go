// Package diskfault stands between a process and its disk, for tests: it sees
// each of the process's calls that change or sync a file below a folder, can
// refuse a call or only pretend it, and records them, so that the states in which
// a power cut may leave the folder can be rebuilt (Replay).
//
// It is a seccomp filter with a listener (seccomp_unotify(2), Linux 5.19 or
// newer). It needs no privilege, no tracer and no other build: the process is the
// program as it is shipped. Nothing in production imports this package.
package diskfault
