package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/identity"
)

// parseName reads a name by its form: an IP address, a URI (with "://"), a mailbox
// (with "@"), else a DNS name; in canonical form.
func parseName(text string) (identity.Identifier, error) {
	id := identity.Identifier{Type: identity.DNS, Value: text}
	if _, err := netip.ParseAddr(text); err == nil {
		id.Type = identity.IP
	} else if strings.Contains(text, "://") {
		id.Type = identity.URI
	} else if strings.Contains(text, "@") {
		id.Type = identity.Email
	}
	canonical, err := id.Canonical()
	if err != nil {
		return id, failf(exitDenied, "%w; such a name is never signed", err)
	}
	return canonical, nil
}

func parseNames(texts []string) ([]identity.Identifier, error) {
	var ids []identity.Identifier
	for _, text := range texts {
		id, err := parseName(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// valuesOf are the names of one type.
func valuesOf(ids []identity.Identifier, kind identity.IdentifierType) []string {
	var values []string
	for _, id := range ids {
		if id.Type == kind {
			values = append(values, id.Value)
		}
	}
	return values
}

// maxBase leaves room for the endings in a file name of 255 bytes.
const maxBase = 200

// fileBase is the name's part of a file name: letters, digits, ".", "-" and "_"
// only, never hidden, never an option, never a path. "*." becomes "_wildcard.". A
// name that does not fit keeps its beginning and gets a part of its hash.
func fileBase(id identity.Identifier) string {
	value := id.Value
	if rest, ok := strings.CutPrefix(value, "*."); ok {
		value = "_wildcard." + rest
	}
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, value)
	if base == "" || base[0] == '.' || base[0] == '-' {
		base = "_" + base
	}
	if len(base) > maxBase {
		sum := sha256.Sum256([]byte(id.Value))
		base = base[:maxBase-17] + "-" + hex.EncodeToString(sum[:8])
	}
	return base
}

// absolute is the path from the root of the file system.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
