// Package ca is the certificate authority: the one path by which a certificate
// is issued (Authority.Issue), revocation, the issuers, the policy in force and
// the record of refusals.
//
// docs/issuance.md mirrors the numbered steps of Issue.
package ca
