package auth

import (
	"strings"
	"testing"
)

func TestBearer(t *testing.T) {
	tests := []struct {
		header, token string
		ok            bool
	}{
		{"Bearer abc", "abc", true},
		{"bearer abc", "abc", true},
		{"Bearer", "", false},
		{"Bearer ", "", false},
		{"Basic abc", "", false},
		{"Bearer a b", "", false},
		{"Bearer  abc", "", false},
		{"Bearer a\x00", "", false},
		{"Bearer ä", "", false},
		{"", "", false},
		{"Bearer " + strings.Repeat("a", 8193), "", false},
	}
	for _, test := range tests {
		if token, ok := Bearer(test.header); token != test.token || ok != test.ok {
			t.Errorf("Bearer(%.20q) = %.20q, %v", test.header, token, ok)
		}
	}
}
