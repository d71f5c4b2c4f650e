package main

import (
	"strings"
	"testing"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// TestJoinLineIsQuoted: what a server says is text to the shell into which the line is
// pasted.
func TestJoinLineIsQuoted(t *testing.T) {
	line, _ := joinLine(&app{}, &pb.CreateTokenResponse{
		Server: "https://x;id", RootFingerprint: "sha256:$(id)",
		Token: &pb.Token{DnsPatterns: []string{"a`id`"}, Profiles: []string{"p|id", "q"}},
	})
	for _, want := range []string{"'https://x;id'", "'sha256:$(id)'", "'a`id`'", "'p|id'"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is not in %s", want, line)
		}
	}
}
