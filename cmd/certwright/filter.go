package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// terms are the conditions of an AIP-160 filter that all must hold.
type terms []string

// quoted is a string literal of the filter grammar.
func quoted(value string) string { return strconv.Quote(value) }

// equal adds field = "value", if there is a value.
func (t *terms) equal(field, value string) {
	if value != "" {
		*t = append(*t, field+" = "+quoted(value))
	}
}

// before adds field < the time.
func (t *terms) before(field string, at time.Time) {
	*t = append(*t, field+" < "+quoted(at.UTC().Format(time.RFC3339)))
}

// and joins the terms with what the caller has written.
func (t terms) and(filter string) string {
	if strings.TrimSpace(filter) != "" {
		if len(t) > 0 {
			filter = "(" + filter + ")"
		}
		t = append(t[:len(t):len(t)], filter)
	}
	return strings.Join(t, " AND ")
}

// narrowing are the filter flags that several lists have.
type narrowing struct {
	filter, owner, profile string
	limit                  int
}

func (n *narrowing) flags(a *app, cmd *cobra.Command, fields string) {
	cmd.Flags().StringVar(&n.filter, "filter", "", "AIP-160 filter over "+fields)
	cmd.Flags().StringVar(&n.owner, "owner", "", "only those of this owner")
	cmd.Flags().StringVar(&n.profile, "profile", "", "only those of this profile")
	limitFlag(cmd, &n.limit)
	a.outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("profile", a.completeProfiles)
}

func (n *narrowing) terms() terms {
	var t terms
	t.equal("owner", n.owner)
	t.equal("profile", n.profile)
	return t
}
