package book

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certwright/certwright/merkle"
)

// splitBundle reads a bundle of entries (C2SP tlog-tiles): each has a uint16 length
// before it, and there are at most 256.
func splitBundle(data []byte) ([][]byte, error) {
	s := cryptobyte.String(data)
	var entries [][]byte
	for !s.Empty() {
		var raw cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&raw) {
			return nil, errors.New("a bundle of entries is cut off")
		}
		if len(entries) == merkle.TileWidth {
			return nil, errors.New("a bundle has more than 256 entries")
		}
		entries = append(entries, raw)
	}
	return entries, nil
}

// joinBundle is the reverse.
func joinBundle(entries [][]byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	for _, raw := range entries {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(raw) })
	}
	return b.Bytes()
}
