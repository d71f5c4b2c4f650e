package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Duration is a time span as it is written in a policy: "720h", "1h30m", or in
// days of 24 hours: "90d".
type Duration time.Duration

var days = regexp.MustCompile(`^([0-9]{1,5})d$`)

// UnmarshalText reads the text.
func (d *Duration) UnmarshalText(text []byte) error {
	if m := days.FindSubmatch(text); m != nil {
		n, err := strconv.Atoi(string(m[1]))
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return err
	}
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`not a duration such as "90d", "720h" or "1h30m"`)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration in hours, minutes and seconds, without zero parts.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	rest := time.Duration(d)
	s := ""
	if rest < 0 {
		s, rest = "-", -rest
	}
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := int64(rest / unit.size); n > 0 {
			s += fmt.Sprintf("%d%s", n, unit.name)
			rest %= unit.size
		}
	}
	if rest > 0 {
		s += rest.String()
	}
	return s
}
