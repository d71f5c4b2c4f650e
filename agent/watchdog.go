package agent

import (
	"context"
	"time"

	"github.com/certwright/certwright/agent/notify"
)

// watchdog tells the service manager that the keepers live, as long as they do, and
// how they stand.
func (a *Agent) watchdog(ctx context.Context) {
	every := a.options.Notify.Watchdog / 2
	if every <= 0 {
		every = time.Minute
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			lines := []string{notify.Status(a.summary())}
			if a.options.Notify.Watchdog > 0 && a.living(now) {
				lines = append(lines, notify.Alive)
			}
			a.tell(ctx, lines...)
		}
	}
}

// living tells whether each keeper has given the sign of life that it promised.
func (a *Agent) living(now time.Time) bool {
	for _, k := range a.all() {
		if due := k.expect.Load(); due > 0 && now.Unix() > due {
			return false
		}
	}
	return true
}
