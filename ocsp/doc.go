// Package ocsp answers what the state of a certificate is, by the ledger's own
// state: a responder for RFC 6960, with the caching of RFC 5019 and the nonces
// of RFC 9654.
//
// # Answers
//
// good: the CertID's issuer is ours by both hashes, and the serial stands in
// the ledger as issued and not revoked. revoked: a certificate or an intent of
// any state that is revoked; an intent counts as issued, so this is not the
// extended meaning of revoked (RFC 6960 §4.4.8), which is never used and hence
// never announced. unknown: every other serial, a reserved and an abandoned
// intent among them. unauthorized (RFC 5019 §2.2.3): no CertID of the request
// is of an issuer that is served here, or the CertIDs are of several of our
// issuers, for whom no one signature can speak.
//
// An answer lasts for Config.Lifetime and is kept for half of it, unless
// Responder.Changed says that the certificate's state is another one. HTTP
// caches may keep good and revoked for a minute and unknown not at all; an
// unknown has no nextUpdate.
//
// # Requests
//
// At most 4 KiB with at most 32 CertIDs, by SHA-1 or SHA-256. A nonce has 1 to
// 128 octets and is echoed; such an answer is signed for this request alone.
// A critical extension that is not known makes the request malformed. A signed
// request is answered like any other, its signature is not verified: the
// answers are public.
//
// # Signatures
//
// Answers are signed by a delegated responder certificate (RFC 6960 §4.2.2.2)
// with a P-256 key that lives in memory only. It comes through the one door of
// issuance (Config.Issue) and is renewed before its end. Without Config.Issue
// the issuer's own key signs; with both, the issuer's own key stands in while
// there is no valid responder certificate.
package ocsp
