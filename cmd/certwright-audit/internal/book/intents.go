package book

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"sort"
)

// intents is the list of all issuance intents, in the order of the ledger, by which
// a certificate that somebody shows is found. It is made from the entries and holds
// nothing that they do not.
type intents struct {
	file  *os.File
	out   *bufio.Writer
	count int64
}

// intent is one record: SHA-256 of the TBSCertificate, serial, epoch, index.
type intent struct {
	tbs    [32]byte
	serial [16]byte
	epoch  uint32
	index  uint64
}

const intentSize = 32 + 16 + 4 + 8

func (i intent) marshal() []byte {
	b := append(make([]byte, 0, intentSize), i.tbs[:]...)
	b = append(b, i.serial[:]...)
	b = binary.BigEndian.AppendUint32(b, i.epoch)
	return binary.BigEndian.AppendUint64(b, i.index)
}

func parseIntent(b []byte) intent {
	return intent{
		tbs: [32]byte(b[:32]), serial: [16]byte(b[32:48]),
		epoch: binary.BigEndian.Uint32(b[48:]), index: binary.BigEndian.Uint64(b[52:]),
	}
}

// serialKey is a serial as it stands in a record; one that is too long for a ledger
// of this format is in none.
func serialKey(n *big.Int) (key [16]byte, ok bool) {
	if n == nil || n.Sign() <= 0 || n.BitLen() > 8*len(key) {
		return key, false
	}
	n.FillBytes(key[:])
	return key, true
}

// openIntents opens the list and forgets what is newer than the state.
func openIntents(dir string, count int64) (*intents, error) {
	path := filepath.Join(dir, intentsFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < count*intentSize {
		err = fmt.Errorf("%s has %d octets, and should have %d: restore the folder, or begin in another one", path, info.Size(), count*intentSize)
	}
	if err == nil {
		err = f.Truncate(count * intentSize)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &intents{file: f, out: bufio.NewWriterSize(f, 64<<10), count: count}, nil
}

func (l *intents) add(i intent) error {
	l.count++
	_, err := l.out.Write(i.marshal())
	return err
}

// sync makes the list durable and says how long it is.
func (l *intents) sync() (int64, error) {
	return l.count, errors.Join(l.out.Flush(), l.file.Sync())
}

// has tells whether an entry of the epoch is an intent.
func (l *intents) has(epoch uint32, index uint64) (bool, error) {
	if err := l.out.Flush(); err != nil {
		return false, err
	}
	var failed error
	record := make([]byte, intentSize)
	read := func(n int) intent {
		if _, err := l.file.ReadAt(record, int64(n)*intentSize); err != nil && failed == nil {
			failed = err
		}
		return parseIntent(record)
	}
	n := sort.Search(int(l.count), func(n int) bool {
		i := read(n)
		return i.epoch > epoch || i.epoch == epoch && i.index >= index
	})
	if failed != nil || n == int(l.count) {
		return false, failed
	}
	i := read(n)
	return i.epoch == epoch && i.index == index, failed
}

// each calls visit for every intent, oldest first.
func (l *intents) each(visit func(intent)) error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(l.file, 0, l.count*intentSize), 256<<10)
	record := make([]byte, intentSize)
	for range l.count {
		if _, err := io.ReadFull(r, record); err != nil {
			return err
		}
		visit(parseIntent(record))
	}
	return nil
}

func (l *intents) close() error { return l.file.Close() }
