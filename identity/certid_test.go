package identity

import (
	"encoding/hex"
	"testing"
)

// TestCertID has the example of RFC 9773 §4.1, and a serial whose first bit is set.
func TestCertID(t *testing.T) {
	key, err := hex.DecodeString("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"87654321": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
		"7f":       "aYhba4dGQEHhs3uEe6CuLN4ByNQ.fw",
	} {
		serial, err := ParseSerial(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := CertID(key, serial); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
