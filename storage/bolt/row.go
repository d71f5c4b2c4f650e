package bolt

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// row is what the store keeps of a certificate besides its intent's entry:
//
//	uint8 state; uint8 flags; uint16 shard; uint64 index;
//	state Reserved:  opaque incarnation[16]; int64 deadline in ms
//	state Abandoned: uint64 index of the entry that says so
//	revoked:         uint64 index of the entry; uint8 reason; int64 date in ms
//
// A certificate that was taken back from a copy of the ledger (flag 2) has no place
// under its request key and among the unresolved: nobody knows whether it was signed.
type row struct {
	taken       bool
	state       storage.State
	shard       uint16
	index       uint64
	incarnation storage.Incarnation
	deadline    int64
	abandoned   uint64
	revocation  *revocation
}

type revocation struct {
	index  uint64
	reason identity.RevocationReason
	at     int64 // Unix milliseconds
}

// The flags of a row.
const (
	flagRevoked = 1
	flagTaken   = 2
)

func (r row) marshal(key []byte) []byte {
	out := make([]byte, 0, 64)
	out = append(out, byte(r.state), 0)
	out = binary.BigEndian.AppendUint16(out, r.shard)
	out = binary.BigEndian.AppendUint64(out, r.index)
	switch r.state {
	case storage.Reserved:
		out = append(out, r.incarnation[:]...)
		out = binary.BigEndian.AppendUint64(out, uint64(r.deadline))
	case storage.Abandoned:
		out = binary.BigEndian.AppendUint64(out, r.abandoned)
	}
	if r.taken {
		out[1] |= flagTaken
	}
	if r.revocation != nil {
		out[1] |= flagRevoked
		out = binary.BigEndian.AppendUint64(out, r.revocation.index)
		out = append(out, byte(r.revocation.reason))
		out = binary.BigEndian.AppendUint64(out, uint64(r.revocation.at))
	}
	return seal(key, out)
}

func parseRow(key, sealed []byte) (row, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return row{}, err
	}
	var r row
	var state, flags uint8
	s := cryptobyte.String(value)
	ok := s.ReadUint8(&state) && s.ReadUint8(&flags) && flags <= flagRevoked|flagTaken && s.ReadUint16(&r.shard) && s.ReadUint64(&r.index)
	r.state, r.taken = storage.State(state), flags&flagTaken != 0
	ok = ok && r.readState(&s)
	if ok && flags&flagRevoked != 0 {
		r.revocation = &revocation{}
		ok = r.revocation.read(&s)
	}
	if !ok || !s.Empty() {
		return row{}, errRow
	}
	return r, nil
}

// readState reads what a row has in its state alone.
func (r *row) readState(s *cryptobyte.String) bool {
	switch r.state {
	case storage.Reserved:
		var deadline uint64
		ok := s.CopyBytes(r.incarnation[:]) && s.ReadUint64(&deadline)
		r.deadline = int64(deadline)
		return ok
	case storage.Abandoned:
		return s.ReadUint64(&r.abandoned)
	case storage.Issued:
		return true
	}
	return false
}

func (v *revocation) read(s *cryptobyte.String) bool {
	var reason uint8
	var at uint64
	ok := s.ReadUint64(&v.index) && s.ReadUint8(&reason) && s.ReadUint64(&at)
	v.reason, v.at = identity.RevocationReason(reason), int64(at)
	return ok
}

// revokedLine is a row of bucketRevoked: int64 NotAfter in seconds, uint8
// reason, int64 date in ms.
func revokedLine(key []byte, notAfter time.Time, v revocation) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(notAfter.Unix()))
	out = append(out, byte(v.reason))
	out = binary.BigEndian.AppendUint64(out, uint64(v.at))
	return seal(key, out)
}

func parseRevokedLine(key, sealed []byte) (notAfter int64, line storage.Revoked, err error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return 0, line, err
	}
	if len(value) != 17 || len(key) < identity.SerialSize {
		return 0, line, errRow
	}
	line.Serial = identity.Serial(key[len(key)-identity.SerialSize:])
	line.Reason = identity.RevocationReason(value[8])
	line.At = time.UnixMilli(int64(binary.BigEndian.Uint64(value[9:]))).UTC()
	return int64(binary.BigEndian.Uint64(value)), line, nil
}

// recordRow is a stored record:
//
//	uint64 version; int64 expiry in ms (0: never); uint64 index of its entry, or 0;
//	{opaque name<0..2^8-1>; opaque value<0..2^8-1>; uint8 unique} indexes<0..2^16-1>; body
type recordRow struct {
	version uint64
	expires int64
	entry   uint64
	indexes []storage.RecordIndex
	body    []byte
}

func (r recordRow) marshal(key []byte) ([]byte, error) {
	list := 0
	for _, x := range r.indexes {
		if len(x.Name) > math.MaxUint8 || len(x.Value) > math.MaxUint8 {
			return nil, errRow
		}
		list += len(x.Name) + len(x.Value) + 3
	}
	if list > math.MaxUint16 {
		return nil, errRow
	}
	out := append(make([]byte, 0, 27+list+len(r.body)+sealSize), rowVersion)
	out = binary.BigEndian.AppendUint64(out, r.version)
	out = binary.BigEndian.AppendUint64(out, uint64(r.expires))
	out = binary.BigEndian.AppendUint64(out, r.entry)
	out = binary.BigEndian.AppendUint16(out, uint16(list))
	for _, x := range r.indexes {
		out = append(append(out, byte(len(x.Name))), x.Name...)
		out = append(append(out, byte(len(x.Value))), x.Value...)
		unique := byte(0)
		if x.Unique {
			unique = 1
		}
		out = append(out, unique)
	}
	return mark(key, append(out, r.body...)), nil
}

// parseRecordRow reads a record; body is a part of sealed.
func parseRecordRow(key, sealed []byte) (recordRow, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return recordRow{}, err
	}
	var r recordRow
	var expires uint64
	var list cryptobyte.String
	s := cryptobyte.String(value)
	if !s.ReadUint64(&r.version) || !s.ReadUint64(&expires) || !s.ReadUint64(&r.entry) || !s.ReadUint16LengthPrefixed(&list) {
		return recordRow{}, errRow
	}
	r.expires, r.body = int64(expires), s
	for !list.Empty() {
		var name, value cryptobyte.String
		var unique uint8
		if !list.ReadUint8LengthPrefixed(&name) || !list.ReadUint8LengthPrefixed(&value) || !list.ReadUint8(&unique) {
			return recordRow{}, errRow
		}
		r.indexes = append(r.indexes, storage.RecordIndex{Name: string(name), Value: string(value), Unique: unique == 1})
	}
	return r, nil
}

func (r recordRow) record(id string) storage.Record {
	out := storage.Record{ID: id, Version: r.version, Body: append([]byte{}, r.body...), Entry: r.entry}
	if r.expires != 0 {
		out.Expires = time.UnixMilli(r.expires).UTC()
	}
	return out
}
