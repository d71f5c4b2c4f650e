package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "2w": 2 * week, "1w2d12h": week + 2*day + 12*time.Hour, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute,
		"0": 0, " 7d ": 7 * day, "1d30m": day + 30*time.Minute,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
		if again, err := parseDuration(formatDuration(want)); err != nil || again != want {
			t.Errorf("%v is written %q, which reads as %v, %v", want, formatDuration(want), again, err)
		}
	}
	for _, text := range []string{"", "d", "30", "30x", "-1h", "1h2d", "99999999999999999999d", "999999999w", "106751d24h"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"", "30d", "2w", "1w2d12h", "-1h", "99999999999999999999d", "1d1d", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil {
			return
		}
		if again, err := parseDuration(formatDuration(d)); d < 0 || err != nil || again != d {
			t.Fatalf("%q is %v, written %q, which reads as %v, %v", text, d, formatDuration(d), again, err)
		}
	})
}

func TestUntil(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		30*day - time.Second: "in 29d", 36 * time.Hour: "in 1d12h", 90 * time.Second: "in 1m30s", -3 * time.Hour: "3h ago", 5 * time.Minute: "in 5m",
	} {
		if got := until(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestEscaping(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "bücher": "bücher", "a\nb": `a\nb`, "a\r\x1b[31mb": `a\r\u001b[31mb`, "\u009b1m": `\u009b1m`,
		"a\u202eb": `a\u202eb`, "\x7f": `\u007f`, "a\u2028b": `a\u2028b`, "\t": `\t`,
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "a=b": "a=b", "": "", "\r\n=x": `\r\n=x`,
	} {
		if got := csvCell(text); got != want {
			t.Errorf("csvCell(%q) = %q, want %q", text, got, want)
		}
	}
}

// hostile is a certificate whose texts try to steer the reader's terminal.
func hostile() *pb.Certificate {
	return &pb.Certificate{
		Id: "ab", Serial: "01", Owner: "=cmd|' /C calc'!A0", Profile: "x\x1b]0;owned\a", Requester: "a\r\nb,\"c\"", Grant: "\u009b2J",
		DnsNames: []string{"a.internal", "\u202eb"}, Labels: map[string]string{"k\x1b": "@v"},
	}
}

// TestOutputIsHarmless prints a hostile certificate in every format: no control
// byte but the newline reaches the output, and JSON keeps the values.
func TestOutputIsHarmless(t *testing.T) {
	c := hostile()
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			a, out, _ := testApp()
			a.format = format
			if err := a.print(&pb.ListCertificatesResponse{Certificates: []*pb.Certificate{c}}, a.certificateRows([]*pb.Certificate{c})); err != nil {
				t.Fatal(err)
			}
			if err := a.print(c, a.certificateStory(c)); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if bad := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unsafe(r) }); bad >= 0 || !utf8.ValidString(text) {
				t.Errorf("%q has a control character at %d", text, bad)
			}
			if format == "csv" && strings.Contains(text, "\n=") {
				t.Errorf("%q has a formula", text)
			}
		})
	}
}

func TestJSONKeepsValuesAndBytes(t *testing.T) {
	first, err := document(hostile())
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(first, &back); err != nil {
		t.Fatal(err)
	}
	if back["grant"] != "\u009b2J" || back["owner"] != hostile().GetOwner() || back["ledgerIndex"] != "0" {
		t.Errorf("%v", back)
	}
	if _, ok := back["revocation"]; ok {
		t.Error("a message that is not set is written")
	}
	for range 20 {
		if again, err := document(hostile()); err != nil || string(again) != string(first) {
			t.Fatalf("%s\nbecame\n%s, %v", first, again, err)
		}
	}
}

func TestLineChanges(t *testing.T) {
	for _, test := range []struct {
		before, after string
		want          []string
	}{
		{"a\nb\nc", "a\nb\nc", nil},
		{"a\nb\nc", "a\nx\nc", []string{"- b", "+ x"}},
		{"a\nb\nc\nd", "a\nc\nd\ne", []string{"- b", "+ e"}},
		{"", "a", []string{"- ", "+ a"}},
	} {
		if got := lineChanges(test.before, test.after); !slices.Equal(got, test.want) {
			t.Errorf("%q to %q: %q, want %q", test.before, test.after, got, test.want)
		}
	}
}
