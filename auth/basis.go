package auth

import (
	"crypto/sha256"
	"encoding/binary"
)

// Basis is the SHA-256 of how something is configured that credentials are believed
// by: of its parts, each with its length.
func Basis(parts ...string) [32]byte {
	var all []byte
	for _, part := range parts {
		all = append(binary.BigEndian.AppendUint64(all, uint64(len(part))), part...)
	}
	return sha256.Sum256(all)
}
