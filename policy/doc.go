// Package policy decides who may have which certificate. It is a pure function
// of a request: no clock, no I/O, safe for concurrent use. The simulator, the
// dry run of the API and the real issuance call the same Engine.Decide.
//
// A policy document knows three concepts. An issuer is a key. A profile is what
// a certificate may look like: issuer, key types, validity, usages, number of
// names. A grant is who may ask for which profile, for which names, on behalf
// of which owner. Conditions, in CEL, narrow what grants allow. Nothing is
// allowed that one single grant does not cover as a whole: principal, profile,
// every name and owner; a name that any grant of the same principal and
// profile denies is denied, and one that the document denies is denied to
// everybody but the server itself. A refusal lists every broken rule.
//
// # Names
//
// Allowed and denied names are patterns, by type:
//
//   - dns: "a.x" is that name; "*.x" is exactly one more label; ".x" is any
//     depth below x, without x. A request for the wildcard name "*.x" is covered
//     by "*.x" and by what covers all below it, and needs a profile with
//     wildcards; it is denied if it would cover a denied name.
//   - ip: an address or a CIDR prefix.
//   - uri: scheme://host/path. Scheme and port are exact. The host is exact for
//     SPIFFE (the trust domain); for other schemes it may be a dns pattern. A
//     path segment "*" is any one segment; a last segment "**" is one or more.
//     A URI with a query is covered by no pattern.
//   - email: "user@x" is that mailbox, "x" or "@x" any mailbox of the domain x
//     itself. Case is ignored.
//
// "{claims.NAME}" in a pattern or an owner stands for the caller's claim of
// that name, taken literally; a claim that is missing or holds a character that
// could widen the pattern (a "*", a separator of labels or segments) makes the
// pattern unusable for this caller.
//
// The matching of DNS names, addresses, mailboxes and URI hosts is that of
// github.com/smallstep/certificates/policy. Its engine allows a type of name
// for which it holds no pattern; here such a type is always denied.
package policy
