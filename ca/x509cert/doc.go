// Package x509cert reads certification requests (PKCS#10, RFC 2986) and builds,
// checks and signs X.509 certificates (RFC 5280). It holds no state and chooses
// nothing: who may have what is decided by policy, and every certificate of
// an issuing CA is asked for by ca.Authority.Issue.
//
// A certificate is made in three values: Draft gives the DER of the
// TBSCertificate, Check turns it into a Checked if it is exactly what was
// decided and passes the lints, and Checked.Sign signs those very bytes, once.
package x509cert
