package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// parseDuration reads a Go duration that may begin with weeks and days: "30d",
// "2w", "1w2d12h", "90m". A day is 24 hours. It is never negative.
func parseDuration(text string) (time.Duration, error) {
	match := regexp.MustCompile(`^(?:(\d+)w)?(?:(\d+)d)?(.*)$`).FindStringSubmatch(strings.TrimSpace(text))
	bad := fmt.Errorf("%.40q is not a duration: write 90m, 12h, 30d or 2w", text)
	if match == nil || match[0] == "" {
		return 0, bad
	}
	var total time.Duration
	for i, unit := range []time.Duration{week, day} {
		if match[i+1] == "" {
			continue
		}
		n, err := strconv.ParseInt(match[i+1], 10, 64)
		if err != nil || n > int64((math.MaxInt64-total)/unit) {
			return 0, bad
		}
		total += time.Duration(n) * unit
	}
	if match[3] == "" {
		return total, nil
	}
	rest, err := time.ParseDuration(match[3])
	if err != nil || rest < 0 || rest > math.MaxInt64-total {
		return 0, bad
	}
	return total + rest, nil
}

// formatDuration is the shortest text that parseDuration reads as d, with whole
// days as days: "30d", "1d12h", "90s" as "1m30s".
func formatDuration(d time.Duration) string {
	if d < 0 {
		return "-" + formatDuration(-d)
	}
	var b strings.Builder
	if days := d / day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= day
	}
	if d > 0 || b.Len() == 0 {
		text := d.String()
		text = strings.TrimSuffix(text, "m0s") + strings.Repeat("m", btoi(strings.HasSuffix(text, "m0s")))
		text = strings.TrimSuffix(text, "h0m") + strings.Repeat("h", btoi(strings.HasSuffix(text, "h0m")))
		b.WriteString(text)
	}
	return b.String()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// until tells a person how far t is from now: "in 29d", "3h ago".
func until(t, now time.Time) string {
	d := t.Sub(now)
	suffix := ""
	if d < 0 {
		d, suffix = -d, " ago"
	}
	switch {
	case d >= 2*day:
		d = d.Truncate(day)
	case d >= 2*time.Hour:
		d = d.Truncate(time.Hour)
	case d >= 2*time.Minute:
		d = d.Truncate(time.Minute)
	default:
		d = d.Truncate(time.Second)
	}
	if suffix == "" {
		return "in " + formatDuration(d)
	}
	return formatDuration(d) + suffix
}
