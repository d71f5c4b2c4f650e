package ledger

import (
	"encoding/asn1"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// shardOf is the CRL shard that a TBSCertificate names: the number of the first
// URL ".../NUMBER.crl" in its cRLDistributionPoints (RFC 5280 §4.2.1.13). false: it
// names none.
func shardOf(tbs []byte) (uint64, bool) {
	points, ok := extension(tbs, asn1.ObjectIdentifier{2, 5, 29, 31})
	var list cryptobyte.String
	if !ok || !points.ReadASN1(&list, cbasn1.SEQUENCE) {
		return 0, false
	}
	tag := cbasn1.Tag(0).ContextSpecific().Constructed()
	for !list.Empty() {
		var point, name, full cryptobyte.String
		var present bool
		if !list.ReadASN1(&point, cbasn1.SEQUENCE) || !point.ReadOptionalASN1(&name, &present, tag) {
			return 0, false
		}
		if !present || !name.ReadASN1(&full, tag) {
			continue
		}
		for !full.Empty() {
			var value cryptobyte.String
			var kind cbasn1.Tag
			if !full.ReadAnyASN1(&value, &kind) {
				return 0, false
			}
			if kind != cbasn1.Tag(6).ContextSpecific() {
				continue
			}
			if shard, ok := shardOfURL(string(value)); ok {
				return shard, true
			}
		}
	}
	return 0, false
}

func shardOfURL(url string) (uint64, bool) {
	text, ok := strings.CutSuffix(url[strings.LastIndexByte(url, '/')+1:], ".crl")
	if !ok {
		return 0, false
	}
	shard, err := strconv.ParseUint(text, 10, 64)
	return shard, err == nil
}

// extension finds the value of an extension of a TBSCertificate (RFC 5280 §4.1).
func extension(tbs []byte, id asn1.ObjectIdentifier) (cryptobyte.String, bool) {
	list, ok := extensions(tbs)
	for ok && !list.Empty() {
		var one, value cryptobyte.String
		var of asn1.ObjectIdentifier
		ok = list.ReadASN1(&one, cbasn1.SEQUENCE) && one.ReadASN1ObjectIdentifier(&of) &&
			one.SkipOptionalASN1(cbasn1.BOOLEAN) && one.ReadASN1(&value, cbasn1.OCTET_STRING)
		if ok && of.Equal(id) {
			return value, true
		}
	}
	return nil, false
}

// extensions is the list of a TBSCertificate's extensions.
func extensions(tbs []byte) (list cryptobyte.String, ok bool) {
	outer := cryptobyte.String(tbs)
	var s, wrapped cryptobyte.String
	var present bool
	tag := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }
	ok = outer.ReadASN1(&s, cbasn1.SEQUENCE) && s.SkipOptionalASN1(tag(0).Constructed()) && s.SkipASN1(cbasn1.INTEGER)
	for range 5 { // algorithm, issuer, validity, subject, key
		ok = ok && s.SkipASN1(cbasn1.SEQUENCE)
	}
	ok = ok && s.SkipOptionalASN1(tag(1)) && s.SkipOptionalASN1(tag(2)) &&
		s.ReadOptionalASN1(&wrapped, &present, tag(3).Constructed()) && present && wrapped.ReadASN1(&list, cbasn1.SEQUENCE)
	return list, ok
}
