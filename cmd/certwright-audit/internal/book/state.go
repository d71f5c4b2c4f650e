package book

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/merkle"
)

// The files of an auditor's folder. Beside them "checkpoint" and "tile" are a copy
// of the ledger, as it is published.
const (
	stateFile    = "state.json"
	intentsFile  = "intents"
	findingsFile = "findings.jsonl"
	noticesFile  = "notices.jsonl"
	lockFile     = "lock"
	epochsFolder = "epochs"
	evidence     = "evidence"
)

// stateVersion is that of state.json.
const stateVersion = 1

// state is what the auditor knows, as it stands in state.json. The file is replaced
// as a whole, and all else in the folder is at least as new as it says.
type state struct {
	Version int `json:"version"`
	// Checkpoint is the last one that was accepted: a signed note.
	Checkpoint string `json:"checkpoint"`
	// Edge of the tree of those entries that have been read: merkle.Edge's encoding.
	Edge []byte `json:"edge"`
	// LastTime of an entry, in Unix milliseconds.
	LastTime int64 `json:"last_time_ms"`
	// Policy in force, verbatim; nil: none yet.
	Policy []byte `json:"policy"`
	// Policies are the indexes of the entries that have set one.
	Policies []uint64 `json:"policies"`
	// Certificates of the CA: SHA-256 of their DER.
	Certificates [][]byte `json:"certificates"`
	// Intents is the number of records in the file of that name.
	Intents int64 `json:"intents"`
	// Epochs are those whose genesis was read, in the order of the entries.
	Epochs []opening `json:"epochs"`

	cp   Checkpoint
	edge *merkle.Edge
}

// load reads the state; of a new folder it is empty.
func load(dir string, keys []Key) (*state, error) {
	s := &state{Version: stateVersion, edge: &merkle.Edge{}}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	fail := func(err error) (*state, error) {
		return nil, fmt.Errorf("%s does not hold: %w; what it remembered is lost with it, so begin in another folder and compare by hand", filepath.Join(dir, stateFile), err)
	}
	if err := decoder.Decode(s); err != nil {
		return fail(err)
	}
	if s.Version != stateVersion {
		return fail(fmt.Errorf("its version is %d, and this program knows %d", s.Version, stateVersion))
	}
	if s.cp, err = Open([]byte(s.Checkpoint), keys); err != nil {
		return nil, fmt.Errorf("the saved checkpoint in %s: %w; is this the key of the ledger that was followed before?", dir, err)
	}
	if s.edge, err = merkle.ParseEdge(s.Edge); err != nil {
		return fail(err)
	}
	if s.edge.Size() > s.cp.Size {
		return fail(errors.New("it has read more entries than the checkpoint covers"))
	}
	root, err := s.edge.Root()
	if err != nil || s.edge.Size() == s.cp.Size && root != s.cp.Root {
		return fail(errors.New("its tree is not that of its checkpoint"))
	}
	return s, nil
}

// lastEpoch is the epoch of the last entry that was read; 0: there is none.
func (s *state) lastEpoch() uint64 {
	if s.edge.Size() == 0 {
		return 0
	}
	return s.epochAt(s.edge.Size() - 1)
}

// epochAt is the epoch of an entry.
func (s *state) epochAt(index uint64) uint64 {
	epoch := uint64(1)
	for _, each := range s.Epochs {
		if each.Index <= index {
			epoch = each.Epoch
		}
	}
	return epoch
}

// save replaces the file, and is durable on return.
func (s *state) save(dir string) error {
	s.Checkpoint, s.Edge = string(s.cp.Note), s.edge.Marshal()
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, stateFile), append(data, '\n'))
}

// WriteFile replaces a file: a power cut leaves the old one or the new one. It is
// durable on return.
func WriteFile(path string, data []byte) error {
	if err := replace(path, data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// replace is WriteFile before the folder is synced.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once renamed
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
