package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// generatedSuffixes are those of the files in proto/ that only this program writes.
var generatedSuffixes = []string{".pb.go", ".pb.gw.go", ".binpb"}

// onlyGenerated fails if proto/ holds a file that is neither a .proto file nor generated.
func onlyGenerated(root string) error {
	found, err := walk(root)
	if err != nil {
		return err
	}
	for _, name := range found {
		if !strings.HasSuffix(name, ".proto") && !generated(name) {
			return fmt.Errorf("%s is neither a .proto file nor generated from one", name)
		}
	}
	return nil
}

// write writes the files and removes those that are generated no more.
func write(root string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	orphans, err := orphans(root, files)
	for _, name := range orphans {
		err = errors.Join(err, os.Remove(filepath.Join(root, filepath.FromSlash(name))))
	}
	return err
}

// compare names, in order, the files that differ from what is generated, are
// missing, or are generated no more.
func compare(root string, files map[string][]byte) ([]string, error) {
	stale, err := orphans(root, files)
	if err != nil {
		return nil, err
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(got, want) {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

// orphans names the generated files in proto/ that are not among files.
func orphans(root string, files map[string][]byte) ([]string, error) {
	found, err := walk(root)
	return slices.DeleteFunc(found, func(name string) bool {
		_, made := files[name]
		return made || !generated(name)
	}), err
}

func generated(name string) bool {
	return slices.ContainsFunc(generatedSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// walk names the files in proto/, relative to root.
func walk(root string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(root), protoDir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}
