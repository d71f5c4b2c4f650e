package acme

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
)

func decode(text []byte) []byte {
	block, _ := pem.Decode(text)
	return block.Bytes
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
