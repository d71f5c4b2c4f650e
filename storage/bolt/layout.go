package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
)

// bucket is the name of one of the file's flat buckets. Numbers in keys are
// big-endian, so that bbolt's byte order is their order.
type bucket string

const (
	bucketMeta         bucket = "meta"          // format, edge → their values
	bucketEntry        bucket = "entry"         // index → raw entry
	bucketTile         bucket = "tile"          // level, number → 256 hashes
	bucketCert         bucket = "cert"          // issuer, serial → row, sealed
	bucketSig          bucket = "sig"           // index → what follows the TBS in the certificate
	bucketSAN          bucket = "san"           // identifier, NUL, index
	bucketOwner        bucket = "owner"         // owner, NUL, index
	bucketExpiry       bucket = "expiry"        // NotAfter in seconds, index
	bucketSPKI         bucket = "spki"          // KeyID, index
	bucketFingerprint  bucket = "fingerprint"   // SHA-256 of the certificate → index
	bucketRequest      bucket = "request"       // request key → index
	bucketUnresolved   bucket = "unresolved"    // index of a reserved intent
	bucketRevoked      bucket = "revoked"       // issuer, shard, NotAfter's hour, serial → line, sealed
	bucketCRL          bucket = "crl"           // issuer, shard → number, DER, sealed
	bucketRecord       bucket = "record"        // collection, NUL, ID → record, sealed
	bucketRecordIndex  bucket = "record_index"  // collection, NUL, name, NUL, value, NUL, ID; the unique ones also without the last two → ID
	bucketRecordExpiry bucket = "record_expiry" // collection, NUL, milliseconds, ID
	bucketOnce         bucket = "once"          // token, NUL → count, sealed; token, NUL, request → nothing, sealed
	bucketErasable     bucket = "erasable"      // commitment → salt, value
)

const (
	keyFormat = "format"
	keyEdge   = "edge"

	// format is the version of this layout; migrate.go has the way to it from the
	// ones before.
	format = 2
	// rowVersion is the first octet of every value that changes.
	rowVersion = 1
	// appendFill is the fill of pages in buckets that grow at few places: what
	// lies before the place is never touched again.
	appendFill = 0.95
	// recordFill is that of records, which come in the order of their age within a
	// collection and grow a little while they are young.
	recordFill = 0.8
)

func buckets() []bucket {
	return []bucket{
		bucketMeta, bucketEntry, bucketTile, bucketCert, bucketSig, bucketSAN, bucketOwner, bucketExpiry, bucketSPKI,
		bucketFingerprint, bucketRequest, bucketUnresolved, bucketRevoked, bucketCRL, bucketRecord, bucketRecordIndex,
		bucketRecordExpiry, bucketOnce, bucketErasable,
	}
}

// fill is how full a page of the bucket is left when it is split.
func (b bucket) fill() float64 {
	switch b {
	case bucketEntry, bucketTile, bucketCert, bucketSig, bucketExpiry:
		return appendFill
	case bucketRecord, bucketRecordExpiry:
		return recordFill
	}
	return bbolt.DefaultFillPercent
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func tileKey(level int, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(level)}, n)
}

func certKey(issuer identity.KeyID, serial identity.Serial) []byte {
	return append(append(make([]byte, 0, len(issuer)+len(serial)), issuer[:]...), serial[:]...)
}

// textKey is a text's prefix and an index. Texts have no NUL.
func textKey(text string, index uint64) []byte {
	return binary.BigEndian.AppendUint64(textPrefix(text), index)
}

func textPrefix(text string) []byte {
	return append(append(make([]byte, 0, len(text)+9), text...), 0)
}

func spkiKey(id identity.KeyID, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(id)+8), id[:]...), index)
}

func expiryKey(notAfter time.Time, index uint64) []byte {
	return binary.BigEndian.AppendUint64(sortableSeconds(notAfter.Unix()), index)
}

// sortableSeconds keeps the order of signed seconds in unsigned bytes.
func sortableSeconds(seconds int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(seconds)^(1<<63))
}

func revokedPrefix(issuer identity.KeyID, shard uint16) []byte {
	return binary.BigEndian.AppendUint16(append(make([]byte, 0, 64), issuer[:]...), shard)
}

func revokedKey(issuer identity.KeyID, shard uint16, notAfter time.Time, serial identity.Serial) []byte {
	return append(append(revokedPrefix(issuer, shard), revokedHour(notAfter)...), serial[:]...)
}

// revokedHour is the hour of a NotAfter, 4 octets; times before 1970 count as
// its first hour.
func revokedHour(notAfter time.Time) []byte {
	hour := max(0, notAfter.Unix()/3600)
	return binary.BigEndian.AppendUint32(nil, uint32(min(hour, 1<<32-1)))
}

func crlKey(issuer identity.KeyID, shard string) []byte {
	return append(append(make([]byte, 0, len(issuer)+len(shard)), issuer[:]...), shard...)
}

// recordKey joins parts of a record's keys with NUL between them.
func recordKey(parts ...string) []byte {
	var key []byte
	for i, p := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, p...)
	}
	return key
}

func recordExpiryKey(collection string, at time.Time, id string) []byte {
	key := binary.BigEndian.AppendUint64(textPrefix(collection), uint64(at.UnixMilli())^(1<<63))
	return append(key, id...)
}

// sealSize is the length of the checksum at the end of a sealed value.
const sealSize = 4

// seal puts the version before a value that changes and a checksum after it.
func seal(key, value []byte) []byte {
	out := append(make([]byte, 0, 1+len(value)+sealSize), rowVersion)
	return mark(key, append(out, value...))
}

// unseal checks the checksum and the version, and takes them off.
func unseal(key, sealed []byte) ([]byte, error) {
	value, ok := unmark(key, sealed)
	switch {
	case !ok || len(value) == 0:
		return nil, errChecksum
	case value[0] != rowVersion:
		return nil, fmt.Errorf("it has the version %d, this program knows %d", value[0], rowVersion)
	}
	return value[1:], nil
}

// mark appends a CRC-32C of key and value: bbolt has no checksums of its own
// for pages, and unlike an entry a row that changes has no place in the tree. The
// format itself has no more than this, in every format.
func mark(key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

// unmark checks the checksum and takes it off.
func unmark(key, sealed []byte) ([]byte, bool) {
	if len(sealed) < sealSize {
		return nil, false
	}
	value, sum := sealed[:len(sealed)-sealSize], sealed[len(sealed)-sealSize:]
	return value, binary.BigEndian.Uint32(sum) == checksum(key, value)
}

func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, key), table, value)
}
