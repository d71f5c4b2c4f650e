// Package crl publishes certificate revocation lists (RFC 5280 §5): for each
// issuer one list for each shard, and a complete one while it is small enough.
//
// # Lists
//
// A certificate belongs to the shard that was stored with it; the shard's list
// carries a critical issuingDistributionPoint with the URL that stands in the
// certificate, and says that it has end-entity certificates only. The complete
// list has none. Intents count as issued: what was revoked before it was signed
// is listed too. There are no delta CRLs.
//
// A list's number is the greater of the stored one + 1 and the time in
// milliseconds, so that it rises across a restart and a restore. Each
// publication is one unit: the list and its entry in the ledger.
//
// # Times
//
// A list lasts for Config.Lifetime. It is built anew at a third of that, and
// Config.RebuildDelay after a revocation, however many follow meanwhile. A
// certificate that has expired stays for one Lifetime, and until a list of a
// later time than its end has been published (RFC 5280 §3.3).
package crl
