package layout

import (
	"encoding/binary"
	"fmt"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// MaxBundle is the size of the largest bundle in octets: 256 of the largest
// entries, each behind its length.
const MaxBundle = merkle.TileWidth * (2 + entry.MaxSize)

// AppendEntry appends one entry to a bundle: uint16 length, big-endian, and the
// entry. It fails for what is longer than an entry can be.
func AppendEntry(bundle, raw []byte) ([]byte, error) {
	if len(raw) > entry.MaxSize {
		return nil, fmt.Errorf("an entry of %d octets does not fit into a bundle: at most %d do", len(raw), entry.MaxSize)
	}
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(raw))), raw...), nil
}

// ParseBundle reads a bundle of width entries: neither more nor fewer, and nothing
// after them. The entries lie in data.
func ParseBundle(data []byte, width int) ([][]byte, error) {
	if width < 1 || width > merkle.TileWidth {
		return nil, fmt.Errorf("a bundle has 1 to %d entries, not %d", merkle.TileWidth, width)
	}
	all := make([][]byte, 0, width)
	for len(all) < width {
		if len(data) < 2 {
			return nil, fmt.Errorf("the bundle ends after %d entries of %d", len(all), width)
		}
		length := int(binary.BigEndian.Uint16(data))
		if data = data[2:]; len(data) < length {
			return nil, fmt.Errorf("the bundle ends inside entry %d of %d", len(all)+1, width)
		}
		all = append(all, data[:length:length])
		data = data[length:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("the bundle has %d octets after its %d entries", len(data), width)
	}
	return all, nil
}
