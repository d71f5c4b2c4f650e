//go:build !linux

package server

import "time"

// sinceBoot follows the wall clock where the system has no clock that counts
// through sleep: jumps cannot be seen there.
func sinceBoot() time.Duration { return time.Duration(time.Now().UnixNano()) }

// sinceStart is of use to systemd only, which is not there.
func sinceStart() time.Duration { return 0 }
