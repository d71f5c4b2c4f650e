package entry

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// The types of extension that an intent may carry.
const (
	extRequestKey uint16 = 1 + iota
	extRequestDigest
	extLabels
	extReplaces
)

// asked is an intent's ext: what is known of the request beyond what is signed.
type asked struct {
	key, digest [32]byte
	labels      [][32]byte
	replaces    [32]byte
}

func (a asked) marshal(b *cryptobyte.Builder) {
	if a.key != ([32]byte{}) {
		addExt(b, extRequestKey, a.key[:])
		addExt(b, extRequestDigest, a.digest[:])
	} else if a.digest != ([32]byte{}) {
		b.SetError(errors.New("a request digest without a request key"))
	}
	if len(a.labels) > 0 {
		addExt(b, extLabels, join(a.labels))
	}
	if a.replaces != ([32]byte{}) {
		addExt(b, extReplaces, a.replaces[:])
	}
}

func parseAsked(ext []byte) (asked, error) {
	var a asked
	digest := false
	err := eachExt(ext, func(kind uint16, value []byte) error {
		switch {
		case kind == extRequestKey && len(value) == 32 && [32]byte(value) != [32]byte{}:
			a.key = [32]byte(value)
		case kind == extRequestDigest && len(value) == 32:
			a.digest, digest = [32]byte(value), true
		case kind == extLabels && len(value) > 0 && len(value)%32 == 0:
			a.labels = split(value)
		case kind == extReplaces && len(value) == 32 && [32]byte(value) != [32]byte{}:
			a.replaces = [32]byte(value)
		default:
			return fmt.Errorf("extension %d is not known or not well-formed", kind)
		}
		return nil
	})
	if err == nil && digest != (a.key != [32]byte{}) {
		err = errors.New("request key and digest do not stand together")
	}
	return a, err
}

func addExt(b *cryptobyte.Builder, kind uint16, value []byte) {
	b.AddUint16(kind)
	addBytes(b, value)
}

// eachExt calls read for each extension; types must rise, so that one list has
// one encoding.
func eachExt(ext []byte, read func(kind uint16, value []byte) error) error {
	s := cryptobyte.String(ext)
	last := -1
	for !s.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !s.ReadUint16(&kind) || !s.ReadUint16LengthPrefixed(&value) || int(kind) <= last {
			return errors.New("extensions are not well-formed")
		}
		last = int(kind)
		if err := read(kind, value); err != nil {
			return err
		}
	}
	return nil
}
