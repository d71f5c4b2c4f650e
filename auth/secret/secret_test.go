package secret

import (
	"strings"
	"testing"
	"time"
)

// FuzzParse: whatever parses has exactly one text, and nothing else panics.
func FuzzParse(f *testing.F) {
	const prefix = "cwt_"
	good := Text(prefix, NewID(time.Now()), New())
	for _, seed := range []string{good, good[:67], good + "=", prefix, "", "cws_" + good[4:], "cwt_" + strings.Repeat("A", 64), "cwt_" + strings.Repeat("\n", 64), strings.ToUpper(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, err := Parse(prefix, s)
		if err != nil {
			return
		}
		if got := Text(prefix, id, secret); got != s {
			t.Errorf("%q parses as %q", s, got)
		}
		if again, ok := ParseID(id.String()); !ok || again != id {
			t.Errorf("ID %s", id)
		}
	})
}

func TestIDsSortNewestFirst(t *testing.T) {
	now := time.Now()
	if older, newer := NewID(now), NewID(now.Add(time.Second)); newer.String() >= older.String() {
		t.Errorf("%s is not before %s", newer, older)
	}
}
