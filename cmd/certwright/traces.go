//go:build unix

package main

import (
	"os"
	"path/filepath"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/client/steady"
)

// traces are the files and folders that a join may make and that were not there
// before, so that one that fails can take them back.
type traces struct {
	folder  string   // of the certificate
	files   []string // records: they tell of the attempt only
	folders []string // a folder before the one that it is in
}

// tracesOf finds what is not there yet.
func tracesOf(dir string, c *config.Config) *traces {
	t := &traces{}
	one := &c.Certificates[0]
	if !exists(one.Folder) {
		t.folder = one.Folder
	}
	records := filepath.Join(c.State, "records")
	for _, file := range []string{filepath.Join(records, one.Name+".json"), filepath.Join(c.State, "status.json"), filepath.Join(c.State, "lock"), filepath.Join(c.State, "running")} {
		if !exists(file) {
			t.files = append(t.files, file)
		}
	}
	for _, folder := range []string{records, filepath.Join(c.State, "pending"), filepath.Join(c.State, "acme"), filepath.Dir(one.Folder), c.State, dir} {
		for !exists(folder) {
			t.folders = append(t.folders, folder)
			folder = filepath.Dir(folder)
		}
	}
	return t
}

// remove takes back what was made. What holds something else stays: a certificate, or
// a request whose answer was lost, which the next join asks for again.
func (t *traces) remove() {
	if t.folder != "" && !exists(filepath.Join(t.folder, config.Current)) {
		takeBack(t.folder, true, (*os.Root).RemoveAll)
	}
	for _, file := range t.files {
		takeBack(file, false, (*os.Root).Remove)
	}
	for _, folder := range t.folders { // an ancestor may stand there more than once
		takeBack(folder, true, (*os.Root).Remove)
	}
}

// takeBack removes a file or folder of our own, by a handle of the folder that it is in:
// others' links lead nowhere.
func takeBack(path string, folder bool, remove func(*os.Root, string) error) {
	at, err := steady.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	defer at.Close() //nolint:errcheck // what could be done was
	name := filepath.Base(path)
	info, err := at.Lstat(name)
	if err == nil && steady.Ours(info) && (folder && info.IsDir() || !folder && info.Mode().IsRegular()) {
		_ = remove(at, name)
	}
}
