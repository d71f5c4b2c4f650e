package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/certwright/certwright/problem"
)

// bindSize is how many octets of a page token bind it to its query.
const bindSize = 8

// maxToken is the longest page token in characters.
const maxToken = 2048

// PageToken is the opaque text of a place in a list, bound to what was asked for
// (the list's name, its filter, its order): with another question it is refused.
// It is empty if there is no next place.
func PageToken(next []byte, question ...string) string {
	if next == nil {
		return ""
	}
	bind := binding(question)
	return base64.RawURLEncoding.EncodeToString(append(bind, next...))
}

// ParsePageToken is the place that a page token stands for; nil for the empty
// one. A token that is not one of ours or of another question is Malformed.
func ParsePageToken(token string, question ...string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	if len(token) > maxToken {
		return nil, refused(nil, fmt.Sprintf("the page token has %d characters: it is not one of ours", len(token)))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) <= bindSize || strings.ContainsAny(token, "\r\n") {
		return nil, refused(nil, "the page token is not one of ours")
	}
	if !bytes.Equal(raw[:bindSize], binding(question)) {
		return nil, refused(nil, "the page token is of a list with another filter or order")
	}
	return raw[bindSize:], nil
}

func binding(question []string) []byte {
	h := sha256.New()
	for _, part := range question {
		h.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	return h.Sum(nil)[:bindSize]
}

// NoPlace is the refusal of a page token that is well-formed and bound to the
// question, but stands for no place in the list.
func NoPlace(cause error) error {
	return refused(cause, "the page token stands for no place in this list")
}

func refused(cause error, detail string) error {
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "PAGE_TOKEN_INVALID", Rule: "page_token", Detail: detail, Err: cause,
		Help: "Use next_page_token of the page before, with the same filter and order.",
	}
}
