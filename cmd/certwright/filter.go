package main

import (
	"errors"
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

// filterFlag gives a command the flag --filter. Given twice it is refused: the last
// one alone would select more, or something else, than was meant.
func filterFlag(cmd *cobra.Command, into *string, usage string) {
	cmd.Flags().Var(&single{into: into}, "filter", usage)
}

// single is a flag that holds one text and may be given once.
type single struct {
	into  *string
	given bool
}

func (s *single) Set(text string) error {
	if s.given {
		return errors.New("it is given twice; join the conditions by AND or OR in one")
	}
	*s.into, s.given = text, true
	return nil
}

func (s *single) Type() string   { return "string" }
func (s *single) String() string { return *s.into }

// narrowing are the filter flags that several lists have.
type narrowing struct {
	filter, owner, profile string
	limit                  int
}

func (n *narrowing) flags(a *app, cmd *cobra.Command, fields string) {
	filterFlag(cmd, &n.filter, "AIP-160 filter over "+fields)
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
