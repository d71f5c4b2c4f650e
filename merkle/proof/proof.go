// Package proof is the file format of a self-contained proof that an entry is in
// a ledger: C2SP tlog-proof, text. Its field "extra" holds the entry as it was
// hashed, from which a reader computes the leaf hash. The package is pure, and
// checks no signature.
package proof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

const (
	header = "c2sp.org/tlog-proof@v1"
	// maxPath is the most hashes that a path can have.
	maxPath = 63
	// maxCheckpoint is the largest checkpoint that is read, with the signatures of
	// many witnesses.
	maxCheckpoint = 64 << 10
	// MaxSize is the size of the largest file that Parse reads, in octets.
	MaxSize = 4*(entry.MaxSize+2)/3 + maxPath*64 + maxCheckpoint + 128
	// Ending is that of proof files, by C2SP tlog-proof.
	Ending = ".tlog-proof"
)

// Proof is what a file holds. Nothing of it is to be trusted before Check and the
// checkpoint's signature.
type Proof struct {
	Entry      []byte     // as it was hashed: the file's extra data
	Index      uint64     // of the entry in the ledger
	Path       [][32]byte // from the leaf's sibling upwards: RFC 6962 §2.1.1
	Checkpoint []byte     // a signed note, verbatim
}

// Marshal writes the file. There is one file for each proof.
func (p Proof) Marshal() ([]byte, error) {
	if len(p.Entry) == 0 || len(p.Entry) > entry.MaxSize || len(p.Path) > maxPath || len(p.Checkpoint) == 0 || len(p.Checkpoint) > maxCheckpoint {
		return nil, errors.New("a proof has an entry, a path of at most 63 hashes and a checkpoint")
	}
	var b strings.Builder
	b.WriteString(header + "\nextra " + base64.StdEncoding.EncodeToString(p.Entry))
	b.WriteString("\nindex " + strconv.FormatUint(p.Index, 10) + "\n")
	for _, hash := range p.Path {
		b.WriteString(base64.StdEncoding.EncodeToString(hash[:]) + "\n")
	}
	b.WriteString("\n" + string(p.Checkpoint))
	return []byte(b.String()), nil
}

// Parse reads what Marshal writes, and nothing else. An error says which line is
// not as it must be.
func Parse(data []byte) (Proof, error) {
	if len(data) > MaxSize {
		return Proof{}, fmt.Errorf("the proof has %d octets: at most %d are read", len(data), MaxSize)
	}
	head, checkpoint, ok := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if lines[0] != header {
		return Proof{}, fmt.Errorf("the first line is not %q: this is no proof", header)
	}
	if !ok || len(lines) < 3 {
		return Proof{}, errors.New("the proof is cut off: it has no entry, index and checkpoint")
	}
	if checkpoint == "" || len(checkpoint) > maxCheckpoint {
		return Proof{}, errors.New("the proof has no checkpoint, or one of more than 64 KiB")
	}
	p := Proof{Checkpoint: []byte(checkpoint)}
	var err error
	if p.Entry, err = extra(lines[1]); err != nil {
		return Proof{}, err
	}
	if p.Index, err = index(lines[2]); err != nil {
		return Proof{}, err
	}
	if p.Path, err = path(lines[3:]); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// extra is the entry in line 2.
func extra(line string) ([]byte, error) {
	text, err := field(line, "extra")
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 || len(raw) > entry.MaxSize {
		return nil, errors.New("line 2: the entry is not base64 of 1 to 65535 octets")
	}
	return raw, nil
}

// index is the number in line 3.
func index(line string) (uint64, error) {
	text, err := field(line, "index")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text || n >= merkle.MaxSize {
		return 0, fmt.Errorf("line 3: %.32q is not an index", text)
	}
	return n, nil
}

func field(line, name string) (string, error) {
	value, ok := strings.CutPrefix(line, name+" ")
	if !ok || strings.Contains(value, "\r") {
		return "", fmt.Errorf("the line %.32q is not %q and a value", line, name)
	}
	return value, nil
}

func path(lines []string) ([][32]byte, error) {
	if len(lines) > maxPath {
		return nil, fmt.Errorf("the path has %d hashes: at most %d are possible", len(lines), maxPath)
	}
	var all [][32]byte
	for i, line := range lines {
		// DecodeString skips line ends: they would be a second way to write a hash.
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != merkle.HashSize || strings.Contains(line, "\r") {
			return nil, fmt.Errorf("line %d: %.64q is not 32 octets of base64", i+4, line)
		}
		all = append(all, [32]byte(hash))
	}
	return all, nil
}

// Leaf is the leaf hash of the entry (RFC 6962 §2.1).
func (p Proof) Leaf() [32]byte { return merkle.LeafHash(p.Entry) }

// Check tells whether the path leads from the entry to the root of a tree of size
// leaves (RFC 9162 §2.1.3.2): nil, or why not. Size and root are those of the
// checkpoint, whose signature the caller has checked.
func (p Proof) Check(size uint64, root [32]byte) error {
	if size > merkle.MaxSize || p.Index >= size {
		return fmt.Errorf("a tree of %d entries does not hold entry %d", size, p.Index)
	}
	hashes := make(tlog.RecordProof, len(p.Path))
	for i, hash := range p.Path {
		hashes[i] = hash
	}
	if err := tlog.CheckRecord(hashes, int64(size), root, int64(p.Index), p.Leaf()); err != nil {
		return fmt.Errorf("the entry is not the one at index %d of the tree of %d entries: %w", p.Index, size, err)
	}
	return nil
}
