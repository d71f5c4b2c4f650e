package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// stamp is a time in RFC 3339, UTC; "" if it is not set.
func stamp(t *timestamppb.Timestamp) string {
	if !t.IsValid() {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// expiry is stamp, in a table with how far it is from now.
func (a *app) expiry(t *timestamppb.Timestamp) string {
	text := stamp(t)
	if text == "" || a.format != "table" {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, until(t.AsTime(), time.Now()))
}

func allNames(c *pb.Certificate) []string {
	return slices.Concat(c.GetDnsNames(), c.GetIpAddresses(), c.GetUris(), c.GetEmails())
}

// some is a list in one cell; a table shows the first few.
func (a *app) some(names []string) string {
	if a.format == "table" && len(names) > 4 {
		return fmt.Sprintf("%s, and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

func labelText(labels map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ", ")
}

// word is an enum's value in lower case.
func word(value fmt.Stringer) string { return strings.ToLower(value.String()) }

// stateOf is the state for a person: a certificate with a successor says so.
func stateOf(c *pb.Certificate) string {
	if c.GetState() == pb.Certificate_ISSUED && c.GetSuperseded() {
		return "superseded"
	}
	return word(c.GetState())
}

// handle is by what a certificate can be asked for again.
func handle(c *pb.Certificate) string {
	if c.GetId() != "" {
		return c.GetId()
	}
	return c.GetSerial()
}

func (a *app) certificateRows(certificates []*pb.Certificate) rows {
	r := rows{columns: columnsOf("names", "owner", "profile", "not after", "state", "serial",
		"+not before", "+key", "+issuer", "+requester", "+grant", "+ledger index", "+labels", "+id")}
	for _, c := range certificates {
		r.add(handle(c), a.some(allNames(c)), c.GetOwner(), c.GetProfile(), a.expiry(c.GetNotAfter()), stateOf(c), c.GetSerial(),
			stamp(c.GetNotBefore()), c.GetKeyAlgorithm(), c.GetIssuer(), c.GetRequester(), c.GetGrant(),
			strconv.FormatUint(c.GetLedgerIndex(), 10), labelText(c.GetLabels()), c.GetId())
	}
	return r
}

// certificateStory is one certificate with all that is known of it.
func (a *app) certificateStory(c *pb.Certificate) rows {
	r := rows{portrait: true, columns: columnsOf("Names", "Owner", "Profile", "State", "Revoked", "Not before", "Not after", "Key",
		"Labels", "Serial", "ID", "Issuer", "Requested by", "Join token", "Grant", "Policy version", "Recorded", "Ledger index",
		"Replaces", "+CRL shard", "+Key ID", "+|PEM", "+|Chain")}
	revoked, index := "", strconv.FormatUint(c.GetLedgerIndex(), 10)
	if v := c.GetRevocation(); v != nil {
		revoked = stamp(v.GetRevokeTime()) + ", " + reasonName(v.GetReason())
	}
	token, _ := strings.CutPrefix(c.GetRequester(), "token:")
	if token == c.GetRequester() {
		token = ""
	}
	if c.GetState() == pb.Certificate_STATE_UNSPECIFIED { // the answer to validate_only
		index = ""
	}
	state := stateOf(c)
	if index == "" {
		state = "allowed"
	}
	r.add(handle(c), strings.Join(allNames(c), ", "), c.GetOwner(), c.GetProfile(), state, revoked, stamp(c.GetNotBefore()),
		a.expiry(c.GetNotAfter()), c.GetKeyAlgorithm(), labelText(c.GetLabels()), c.GetSerial(), c.GetId(), c.GetIssuer(),
		c.GetRequester(), token, c.GetGrant(), c.GetPolicyVersion(), stamp(c.GetCreateTime()), index,
		c.GetReplaces(), strconv.FormatUint(uint64(c.GetCrlShard()), 10), c.GetSpkiSha256(), c.GetPem(), c.GetChainPem())
	return r
}
