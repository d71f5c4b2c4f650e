package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/storage/bolt"
)

// plainEnvironment takes away what would steer the program from outside.
func plainEnvironment(env *testscript.Env) error {
	var kept []string
	for _, pair := range env.Vars {
		if !strings.HasPrefix(pair, "CERTWRIGHT_") {
			kept = append(kept, pair)
		}
	}
	env.Vars = kept
	return nil
}

// scriptCommands are what the transcripts can say besides testscript's own words:
//
//	exits CODE certwright ARGS...   runs it and wants this exit code; sets stdout and stderr
//	plain FILE...                   wants no escape byte in the files (stdout, stderr)
//	mode FILE PERM                  wants the permissions of a file
//	until COMMAND ARGS...           runs it until it succeeds, for 30 s
//	tamper FILE OLD NEW             replaces a text by one of the same length
//	rot FILE BUCKET KEY             changes one bit of a value in a database
//	plant FILE COLLECTION ID        copies a collection's first record, with a right checksum
//	agekey FILE VAR                 makes an age identity, VAR is its recipient; OTHERKEY is some verifier key
//	flip FILE NEW                   copies a file with one bit changed in its middle
//	rotfirst FILE BUCKET            changes one bit of a bucket's first value
//	cut FILE NEW                    copies the first two thirds of a file
//	mix FILE DATABASE NEW           copies a backup with another database in it
//	tiles FILE FOLDER               copies a stopped server's ledger as C2SP tlog-tiles
//	circle FILE BUCKET              makes the bucket's top page name itself as the next below
func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"exits": exits,
		"plain": func(ts *testscript.TestScript, _ bool, args []string) {
			for _, file := range args {
				if strings.Contains(ts.ReadFile(file), "\x1b") {
					ts.Fatalf("%s has an escape byte", file)
				}
			}
		},
		"mode":   mode,
		"until":  until30s,
		"tamper": tamper,
		"rot":    rot,
		"plant":  plant,
		"circle": circle,
		"tiles":  tiles,
		"agekey": ageKey,
		"flip":   flip,
		"cut":    cutFile,
		"rotfirst": func(ts *testscript.TestScript, _ bool, args []string) {
			rotKey(ts, args[0], args[1], func(b *bbolt.Bucket) []byte { k, _ := b.Cursor().First(); return bytes.Clone(k) })
		},
		"mix": mix,
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// until runs a command again and again until it succeeds.
func until30s(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%v", err)
		case <-tick.C:
		}
	}
}

// tamper replaces a text in a file, everywhere, by one of the same length.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	before, err := os.ReadFile(file)
	ts.Check(err)
	after := bytes.ReplaceAll(before, []byte(args[1]), []byte(args[2]))
	if bytes.Equal(before, after) || len(before) != len(after) {
		ts.Fatalf("nothing to change in %s", file)
	}
	ts.Check(os.WriteFile(file, after, 0o600))
}

// rot changes one bit of a value in a database.
func rot(ts *testscript.TestScript, _ bool, args []string) {
	rotKey(ts, args[0], args[1], func(*bbolt.Bucket) []byte { return []byte(args[2]) })
}

func rotKey(ts *testscript.TestScript, file, bucket string, of func(*bbolt.Bucket) []byte) {
	db, err := bbolt.Open(ts.MkAbs(file), 0o600, nil)
	ts.Check(err)
	ts.Check(db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		key := of(b)
		value := bytes.Clone(b.Get(key))
		value[len(value)/2] ^= 1
		return b.Put(key, value)
	}))
	ts.Check(db.Close())
}

// plant copies a collection's first record to another ID, with a right checksum.
func plant(ts *testscript.TestScript, _ bool, args []string) {
	db, err := bbolt.Open(ts.MkAbs(args[0]), 0o600, nil)
	ts.Check(err)
	ts.Check(db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("record"))
		k, sealed := b.Cursor().Seek([]byte(args[1] + "\x00"))
		if !bytes.HasPrefix(k, []byte(args[1]+"\x00")) {
			ts.Fatalf("there is no record in %s", args[1])
		}
		key, value := []byte(args[1]+"\x00"+args[2]), bytes.Clone(sealed[:len(sealed)-4])
		sum := crc32.Checksum(append(bytes.Clone(key), value...), crc32.MakeTable(crc32.Castagnoli))
		return b.Put(key, binary.BigEndian.AppendUint32(value, sum))
	}))
	ts.Check(db.Close())
}

func ageKey(ts *testscript.TestScript, _ bool, args []string) {
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("# a comment\n"+id.String()+"\n"), 0o600))
	ts.Setenv(args[1], id.Recipient().String())
	public, _, err := ed25519.GenerateKey(nil)
	ts.Check(err)
	key, err := ledger.VerifierKey("localhost/certwright", public)
	ts.Check(err)
	ts.Setenv("OTHERKEY", key)
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

func cutFile(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data[:len(data)*2/3], 0o600))
}

// mix puts another database into a backup, whose manifest stays.
func mix(ts *testscript.TestScript, _ bool, args []string) {
	in, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer in.Close()
	database, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	out, err := os.Create(ts.MkAbs(args[2]))
	ts.Check(err)
	defer out.Close()
	from, to := tar.NewReader(in), tar.NewWriter(out)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		var content io.Reader = from
		if h.Name == "ledger.db" {
			h.Size, content = int64(len(database)), bytes.NewReader(database)
		}
		ts.Check(to.WriteHeader(h))
		_, err = io.Copy(to, content)
		ts.Check(err)
	}
	ts.Check(to.Close())
}

// tiles copies the entries under the stored checkpoint of a stopped server's ledger
// into a folder.
func tiles(ts *testscript.TestScript, _ bool, args []string) {
	s, err := bolt.Open(context.Background(), bolt.Config{Path: ts.MkAbs(args[0]), ReadOnly: true})
	ts.Check(err)
	defer s.Close()
	r, err := s.Record(context.Background(), "checkpoint", "latest")
	ts.Check(err)
	cp, err := ledger.ParseCheckpoint(r.Body[8:], "")
	ts.Check(err)
	put := func(path string, data []byte) {
		path = filepath.Join(ts.MkAbs(args[1]), filepath.FromSlash(path))
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		ts.Check(os.WriteFile(path, data, 0o600))
	}
	put(layout.Checkpoint, cp.Note)
	for start := uint64(0); start < cp.Size; start += merkle.TileWidth {
		width := int(min(cp.Size-start, merkle.TileWidth))
		raws, err := s.Entries(context.Background(), start, width)
		ts.Check(err)
		var bundle []byte
		for _, raw := range raws {
			bundle, err = layout.AppendEntry(bundle, raw)
			ts.Check(err)
		}
		put(layout.Tile{Level: layout.Entries, N: start / merkle.TileWidth, Width: width}.Path(), bundle)
	}
}

// circle makes the first element of a bucket's top page, a branch page, lead back
// to that page. A page is {id uint64, flags, count uint16, overflow uint32}, then
// elements; a branch's are {position, size uint32, page uint64}.
func circle(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	db, err := bbolt.Open(file, 0o600, nil)
	ts.Check(err)
	root, kind, size := int64(0), "", int64(db.Info().PageSize)
	ts.Check(db.View(func(tx *bbolt.Tx) error {
		root = int64(tx.Bucket([]byte(args[1])).Root())
		page, err := tx.Page(int(root))
		if page != nil {
			kind = page.Type
		}
		return err
	}))
	ts.Check(db.Close())
	if kind != "branch" {
		ts.Fatalf("the bucket %s has a %s page on top", args[1], kind)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	ts.Check(err)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(root)), root*size+16+8)
	ts.Check(err)
	ts.Check(f.Close())
}
