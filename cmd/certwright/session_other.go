package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maxOtherSessions is how many files are looked at for another session.
const maxOtherSessions = 100

// otherSession is a server that a session is kept for when there is none for --server: it
// may be the same in other words. One of this machine with the same port goes before;
// "": there is none. A session is never used under another name than it was opened with.
func (a *app) otherSession() string {
	server, err := a.sessionServer()
	if err != nil || server == "" || a.sessionFile(server) == "" {
		return ""
	}
	dir := filepath.Dir(a.sessionFile(server))
	files, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var others []string
	for _, each := range files[:min(len(files), maxOtherSessions)] {
		file := filepath.Join(dir, each.Name())
		kept, err := readKept(file)
		if err == nil && kept.Server != server && a.sessionFile(kept.Server) == file && time.Now().Before(kept.Expires) {
			others = append(others, kept.Server)
		}
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	for _, other := range others {
		if onLoopback(server) && onLoopback(other) && portOf(server) == portOf(other) {
			return other
		}
	}
	return others[0]
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // sessionServer has made it
	return port
}
