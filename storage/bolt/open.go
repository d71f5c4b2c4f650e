// Package bolt keeps Certwright's state in one bbolt file: the storage contract
// on one machine. layout.go is the file's layout, row.go its rows;
// writer.go is the one goroutine that writes, with one transaction for many
// units (group commit); scrub.go checks a whole file.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/problem"
)

// Config is how a file is opened.
type Config struct {
	// Path of the file; Create makes it.
	Path string
	// ReadOnly opens the file of a stopped server, to read and scrub it. A
	// damaged file gives errors, as far as they can be told from garbage.
	ReadOnly bool
	// Queue is how many units may wait; more are refused with ErrOverloaded. A
	// quarter as many places beyond are for what must get in: completions,
	// abandonments, revocations, CRLs. 0: 4096.
	Queue int
	// Linger is the longest time that a unit waits for company, so that more
	// units share one transaction; a lone caller never waits. 0: 20 ms;
	// negative: never.
	Linger time.Duration
	// Reserve is the space on disk, in octets, that is kept for what must still
	// be written when the disk is filling up: completions, revocations, CRLs.
	// With less than it left, new certificates are refused, with a
	// *problem.Problem that says so. 0: 16 MiB; negative: none. (Linux only.)
	Reserve int64
	// Now is the clock that gives entries their time. nil: time.Now.
	Now func() time.Time
	// Logger hears of failed writes. nil: none.
	Logger *slog.Logger
}

const (
	defaultQueue  = 4096
	defaultLinger = 20 * time.Millisecond
	defaultSpace  = 16 << 20
	lockTimeout   = time.Second
	// growth is how much the file grows at a time; each growth costs one more
	// fsync.
	growth = 4 << 20
	// edgeTime is the length of the last entry's time after the edge.
	edgeTime = 8
)

// Store implements storage.Store in one bbolt file.
type Store struct {
	config Config
	db     *bbolt.DB
	file   *os.File // bbolt's own

	gate   sync.RWMutex // of queue: held to write when it is closed
	queue  chan *job
	closed bool
	writer sync.WaitGroup
	// ordinary is how many units wait that have no right to the reserved places.
	ordinary atomic.Int64

	edge   *merkle.Edge // the writer's
	last   time.Time    // the writer's: of the last entry
	expect int          // the writer's: how many callers seem to be there
	size   int64        // the writer's: of the file

	snapshots snapshots
	recent    recent
	mapped    int64 // the address space that the file has

	counters counters
}

// Create makes an empty database. A power cut in between leaves no file at
// path: it is written under another name, synced, and renamed. The file must
// not be there yet.
func Create(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("create database: %s: %w", path, os.ErrExist)
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*")
	if err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	name := temp.Name()
	err = temp.Close()
	if err == nil {
		err = fill(name)
	}
	if err == nil {
		err = syncPath(name)
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		if full := fullError(path, err); full != nil {
			err = full
		}
		return errors.Join(fmt.Errorf("create database: %w", err), removeIfThere(name))
	}
	return syncPath(dir)
}

func removeIfThere(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncPath(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fill makes the buckets of an empty database.
func fill(name string) error {
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets() {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(bucketMeta))
		if err := putFormat(meta, format); err != nil {
			return err
		}
		return putEdge(tx, &merkle.Edge{}, time.UnixMilli(0))
	})
	return errors.Join(err, db.Close())
}

// Open opens a database that Create made. Another process that has it open:
// a *problem.Problem around ErrLocked, after one second. ctx is only looked at
// before.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{config: config.withDefaults(), expect: 1}
	if err := s.open(); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.snapshots.leave(s.snapshots.swap(nil)), s.db.Close())
		}
		return nil, openError(config.Path, err)
	}
	s.queue = make(chan *job, s.config.places())
	if !config.ReadOnly {
		s.writer.Go(s.write)
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	if c.Reserve == 0 {
		c.Reserve = defaultSpace
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (s *Store) open() (err error) {
	defer guard(&err)()
	info, err := os.Stat(s.config.Path)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return errors.New("the file is empty") // bbolt would make it a database
	}
	s.size = info.Size()
	options := &bbolt.Options{
		Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, ReadOnly: s.config.ReadOnly,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if s.db == nil { // a backup opens it again, to read
				s.file = f
			}
			return f, err
		},
	}
	if !s.config.ReadOnly {
		if err := s.whole(); err != nil { // before opening follows pages that may not be there
			return err
		}
		s.mapped = info.Size() + mapSize()
		options.InitialMmapSize = int(s.mapped)
	}
	if s.db, err = bbolt.Open(s.config.Path, 0o600, options); err != nil {
		return err
	}
	s.db.AllocSize = growth
	if !s.config.ReadOnly {
		// What a run that was killed has written and not synced is read from here
		// on: it must be durable, or it may be lost after it was handed out.
		if err := s.db.Sync(); err != nil {
			return err
		}
		if err := s.migrate(migrations()); err != nil {
			return err
		}
	}
	if err := s.db.View(s.load); err != nil {
		return err
	}
	return s.snapshots.renew(s.db)
}

// whole checks that the file has all the pages that its newest root counts. Opened
// to read, bbolt looks at the two roots only.
func (s *Store) whole() error {
	db, err := bbolt.Open(s.config.Path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(db.View(s.uncut), db.Close())
}

// uncut is nil if no page is missing: bbolt would read on into what is not there.
func (s *Store) uncut(tx *bbolt.Tx) error {
	if tx.Size() <= s.size {
		return nil
	}
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "DATABASE_TRUNCATED",
		Detail: fmt.Sprintf("the database %s is cut off: %d octets of %d are there", s.config.Path, s.size, tx.Size()),
		Help:   "restore the file from a backup",
	}
}

// mapSize is the address space that the file may grow into before bbolt has to
// map it anew, for which it waits until all readers are done.
func mapSize() int64 {
	if strconv.IntSize == 64 {
		return 64 << 30
	}
	return 512 << 20
}

// load reads the format and the tree's edge.
func (s *Store) load(tx *bbolt.Tx) error {
	if err := s.uncut(tx); err != nil {
		return err
	}
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return errors.New("there is no meta bucket")
	}
	switch v, err := getFormat(meta); {
	case err != nil:
		return err
	case v != format:
		return otherFormat(s.config.Path, v)
	}
	for _, b := range buckets() {
		if tx.Bucket([]byte(b)) == nil {
			return fmt.Errorf("there is no %s bucket", b)
		}
	}
	var err error
	s.edge, s.last, err = getEdge(tx)
	return err
}

func putEdge(tx *bbolt.Tx, edge *merkle.Edge, last time.Time) error {
	value := binary.BigEndian.AppendUint64(edge.Marshal(), uint64(last.UnixMilli()))
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyEdge), seal([]byte(keyEdge), value))
}

func getEdge(tx *bbolt.Tx) (*merkle.Edge, time.Time, error) {
	value, err := unseal([]byte(keyEdge), tx.Bucket([]byte(bucketMeta)).Get([]byte(keyEdge)))
	if err == nil && len(value) < edgeTime {
		err = errRow
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("edge of the tree: %w", err)
	}
	cut := len(value) - edgeTime
	edge, err := merkle.ParseEdge(value[:cut])
	return edge, time.UnixMilli(int64(binary.BigEndian.Uint64(value[cut:]))).UTC(), err
}

// Close waits for the units under way and for readers, and closes the file.
func (s *Store) Close() error {
	s.gate.Lock()
	if s.closed {
		s.gate.Unlock()
		return errors.New("store is closed already")
	}
	s.closed = true
	close(s.queue)
	s.gate.Unlock()
	s.writer.Wait()
	s.recent.drop()
	if err := errors.Join(s.snapshots.leave(s.snapshots.swap(nil)), s.db.Close()); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// guard turns panics and faults of this goroutine into errors: in a damaged
// file bbolt panics, or reads where nothing is mapped. Use: defer guard(&err)().
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}
}
