package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/storagetest"
)

var _ storage.Store = (*bolt.Store)(nil)

func create(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, config bolt.Config) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	paths := map[storage.Store]string{}
	storagetest.Run(t,
		func(t *testing.T) storage.Store {
			path := create(t)
			s := open(t, bolt.Config{Path: path})
			paths[s] = path
			return s
		},
		func(t *testing.T, s storage.Store) storage.Store {
			path := paths[s]
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, bolt.Config{Path: path})
			paths[again] = path
			return again
		})
}
