package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const (
	maxPage      = 1000 // what the server answers at most at once
	defaultLimit = 1000
)

// limitFlag gives a command --limit.
func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, "at most so many; 0: all")
}

// collect fetches page after page until limit rows are there (0: all). fetch
// answers how many rows its page had and the token of the next one. A cut is said
// on standard error.
func (a *app) collect(limit int, fetch func(size int32, token string) (int, string, error)) error {
	if limit < 0 {
		return usagef("--limit %d is negative; 0 is for all", limit)
	}
	token, have := "", 0
	for {
		size := maxPage
		if limit > 0 {
			size = min(size, limit-have)
		}
		n, next, err := fetch(int32(size), token)
		if err != nil {
			return err
		}
		have += n
		if next == "" {
			return nil
		}
		if limit > 0 && have >= limit {
			a.note("There are more than these %d: --limit 0 shows all.", have)
			return nil
		}
		if next == token {
			return fmt.Errorf("the server's pages do not end")
		}
		token = next
	}
}
