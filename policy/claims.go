package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// template finds "{claims.NAME}".
var template = regexp.MustCompile(`\{claims\.([A-Za-z0-9_.:/-]{1,128})\}`)

// The characters a claim may hold where it stands: none of them separates
// labels, segments or mailboxes there, and none is a pattern.
var (
	claimInDNS     = regexp.MustCompile(`^[a-z0-9-]+$`)
	claimInPath    = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	claimInMailbox = regexp.MustCompile(`^[A-Za-z0-9._+-]+$`)
	claimInOwner   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
)

// isTemplate tells whether the text has braces, which nothing but a template may.
func isTemplate(text string) bool { return strings.ContainsAny(text, "{}") }

// checkTemplate refuses braces that are not a template.
func checkTemplate(text string) error {
	if rest := template.ReplaceAllString(text, ""); isTemplate(rest) {
		return fmt.Errorf("braces stand only in {claims.NAME}")
	}
	return nil
}

// expand puts claims in the place of templates. The error says which claim
// cannot be used, without its value: a claim may be a secret of the provider's.
func expand(text string, claims map[string]any, form *regexp.Regexp) (string, error) {
	var err error
	out := template.ReplaceAllStringFunc(text, func(found string) string {
		name := template.FindStringSubmatch(found)[1]
		value, ok := claimText(claims[name])
		switch {
		case claims[name] == nil:
			err = fmt.Errorf("the caller has no claim %q", name)
		case !ok:
			err = fmt.Errorf("the caller's claim %q is not a text, number or boolean", name)
		case !form.MatchString(value) || len(value) > 128:
			err = fmt.Errorf("the caller's claim %q has a character that is not taken into a name or owner", name)
		}
		return value
	})
	if err != nil {
		return "", err
	}
	return out, nil
}

// claimText is a scalar claim as text.
func claimText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case fmt.Stringer: // json.Number
		return v.String(), true
	}
	return "", false
}

// hasClaim tells whether the claim is the value, or a list that contains it.
func hasClaim(claim any, want string) bool {
	if text, ok := claimText(claim); ok {
		return text == want
	}
	switch list := claim.(type) {
	case []any:
		for _, item := range list {
			if text, ok := claimText(item); ok && text == want {
				return true
			}
		}
	case []string:
		for _, item := range list {
			if item == want {
				return true
			}
		}
	}
	return false
}
