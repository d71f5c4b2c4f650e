package challenge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/egress"
)

// CAAQuery is who wants to issue what, for the records to allow.
type CAAQuery struct {
	Name          string   // DNS name, without "*."
	Wildcard      bool     // then issuewild records, if any, decide (RFC 8659 §4.3)
	IssuerDomains []string // this CA's names; one must be listed
	AccountURL    string   // held against accounturi (RFC 8657 §3)
	Method        string   // the challenge's type, held against validationmethods (RFC 8657 §4); empty: none was asked for
}

// CheckCAA asks for the CAA records that apply to the name (RFC 8659 §3) and
// returns an *Error of type caa if they do not allow this CA, this account and this
// method; of type dns if they cannot be looked up. No records allow everybody.
func CheckCAA(ctx context.Context, client *egress.Client, query CAAQuery) error {
	records, at, err := client.LookupCAA(ctx, query.Name)
	if err != nil {
		return FromEgress("CAA", err)
	}
	if what := judgeCAA(records, query); what != "" {
		return &Error{
			Type: CAA, Host: query.Name, Detail: fmt.Sprintf("CAA records at %s forbid it for %s: %s", at, query.Name, what),
			Hint: fmt.Sprintf("add a record: %s CAA 0 issue %q", at, strings.Join(query.IssuerDomains[:min(1, len(query.IssuerDomains))], "")),
		}
	}
	return nil
}

// judgeCAA says why the records forbid the query; "" if they allow it.
func judgeCAA(records []egress.CAA, query CAAQuery) string {
	var issue, wild []string
	for _, record := range records {
		switch record.Tag {
		case "issue":
			issue = append(issue, record.Value)
		case "issuewild":
			wild = append(wild, record.Value)
		case "issuemail", "issuevmc", "iodef", "contactemail", "contactphone":
		default:
			if record.Critical {
				return "a critical property is not known to this CA"
			}
		}
	}
	if query.Wildcard && len(wild) > 0 {
		issue = wild
	}
	if len(issue) == 0 {
		return ""
	}
	why := "none names this CA"
	for _, value := range issue {
		switch reason := judgeIssue(value, query); reason {
		case "":
			return ""
		case otherCA:
		default:
			why = reason
		}
	}
	return why
}

// otherCA is judgeIssue's answer for a value that names another CA, or none.
const otherCA = "another CA"

func judgeIssue(value string, query CAAQuery) string {
	domain, rest, _ := strings.Cut(value, ";")
	domain = strings.ToLower(strings.TrimSuffix(strings.Trim(domain, " \t"), "."))
	if domain == "" || !slices.ContainsFunc(query.IssuerDomains, func(d string) bool { return strings.EqualFold(strings.TrimSuffix(d, "."), domain) }) {
		return otherCA
	}
	params, err := ParseParameters(rest)
	if err != nil {
		return "the record of this CA is malformed: " + err.Error()
	}
	seen := map[string]bool{}
	for _, param := range params {
		tag := strings.ToLower(param.Tag)
		if tag != "accounturi" && tag != "validationmethods" {
			continue
		}
		if seen[tag] { // RFC 8657 §3: more than one accounturi allows nothing
			return "the record of this CA has " + tag + " more than once"
		}
		seen[tag] = true
		switch {
		case tag == "accounturi" && param.Value != query.AccountURL:
			return "the record of this CA names another account (accounturi)"
		case tag == "validationmethods" && (query.Method == "" || !slices.Contains(strings.Split(param.Value, ","), query.Method)):
			return "the record of this CA does not list the method " + query.Method + " (validationmethods)"
		}
	}
	return ""
}

// Parameter is one tag=value of an issue-value (RFC 8659 §4.2).
type Parameter struct{ Tag, Value string }

// ParseParameters reads what follows the issuer domain and its semicolon in an
// issue-value: tag=value, separated by semicolons, white space around. Empty text
// is no parameters. Its errors quote nothing of the text.
func ParseParameters(text string) ([]Parameter, error) {
	if strings.Trim(text, " \t") == "" {
		return nil, nil
	}
	var params []Parameter
	for part := range strings.SplitSeq(text, ";") {
		tag, value, ok := strings.Cut(part, "=")
		tag, value = strings.Trim(tag, " \t"), strings.Trim(value, " \t")
		switch {
		case !ok:
			return nil, errors.New("a parameter is not tag=value")
		case !isTag(tag):
			return nil, errors.New("a parameter's tag is not letters, digits and hyphens")
		}
		for _, c := range []byte(value) {
			if c < 0x21 || c > 0x7e {
				return nil, errors.New("a parameter's value has white space or what is not ASCII")
			}
		}
		params = append(params, Parameter{tag, value})
	}
	return params, nil
}

func isTag(tag string) bool {
	for _, c := range []byte(tag) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return tag != "" && tag[0] != '-' && tag[len(tag)-1] != '-'
}
