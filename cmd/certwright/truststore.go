package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// trustStore is a kind of system trust store: a folder for roots of one's own, and the
// program that makes the bundles of them.
type trustStore struct {
	system string
	folder string   // below the root folder of the system
	update []string // the program and its arguments
	remove []string // the same after a root was taken away
}

// trustStores are those that are known, in the order in which they are looked for: who
// has the first folder may have the last, too.
func trustStores() []trustStore {
	return []trustStore{
		{"Fedora, RHEL and their kin", "etc/pki/ca-trust/source/anchors", []string{"update-ca-trust", "extract"}, []string{"update-ca-trust", "extract"}},
		{"Arch Linux", "etc/ca-certificates/trust-source/anchors", []string{"update-ca-trust"}, []string{"update-ca-trust"}},
		{"SUSE", "etc/pki/trust/anchors", []string{"update-ca-certificates"}, []string{"update-ca-certificates"}},
		{"Debian, Ubuntu, Alpine", "usr/local/share/ca-certificates", []string{"update-ca-certificates"}, []string{"update-ca-certificates", "--fresh"}},
	}
}

// findTrustStore is the store of the system in a root folder. All is done through an
// os.Root: a link in an image leads nowhere outside it.
func findTrustStore(root *os.Root) (trustStore, error) {
	for _, store := range trustStores() {
		info, err := root.Stat(store.folder)
		switch {
		case err == nil && info.IsDir():
			return store, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return trustStore{}, missing(err)
		}
	}
	// Some images leave out the empty folder.
	if _, err := root.Lstat("usr/sbin/update-ca-certificates"); err == nil {
		return trustStores()[3], nil
	}
	return trustStore{}, failf(exitNotFound, "no trust store that is known here in %s; install the package ca-certificates, or add the root by hand", root.Name())
}

// updateTime is how long the update may take: some distributions rebuild Java's store, too.
const updateTime = 5 * time.Minute

// runUpdate has the system's bundles made anew. What the program says is shown if it
// fails.
func runUpdate(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, updateTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // one of trustStores
	if !strings.ContainsRune(cmd.Path, '/') {             // a user's PATH may lack the folder
		if path := filepath.Join("/usr/sbin", argv[0]); exists(path) {
			cmd.Path, cmd.Err = path, nil
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		f := failf(exitFailure, "%s: %w; run it by hand", strings.Join(argv, " "), err)
		f.detail = lastLines(string(out), 5)
		return f
	}
	return nil
}

func lastLines(text string, n int) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[max(0, len(lines)-n):]
}
