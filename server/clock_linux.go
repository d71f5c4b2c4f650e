package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot counts since the machine started, sleep included.
func sinceBoot() time.Duration { return clock(unix.CLOCK_BOOTTIME) }

// sinceStart is the monotonic clock that systemd counts by.
func sinceStart() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
