package main

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/proof"
	"github.com/certwright/certwright/plainfile"
)

// proofCheck is ledger verify --proof: a check that asks nobody.
type proofCheck struct {
	file, key, cert string
}

// proven is the JSON of ledger verify --proof.
type proven struct {
	Valid       bool   `json:"valid"`
	Origin      string `json:"origin"`
	Index       uint64 `json:"index"`
	Entries     uint64 `json:"entries"` // under the checkpoint
	Kind        string `json:"kind"`
	Time        string `json:"time"`
	Actor       string `json:"actor"`
	Certificate string `json:"certificate"` // the file that was compared; empty: none
}

// verifyProof checks a proof file, and that a certificate is the one it is about.
func (a *app) verifyProof(c proofCheck, issuers []string) error {
	if c.key == "" {
		return usagef("--proof needs --key, the ledger's verifier key; certwright ledger status shows it: keep it where you check")
	}
	key, err := a.verifierKey(c.key)
	if err != nil {
		return err
	}
	file, err := a.readInput(c.file)
	if err != nil {
		return err
	}
	p, cp, err := ledger.OpenProof(file, key)
	if err != nil {
		return failf(exitFound, "the proof %s does not hold: %w", c.file, err)
	}
	e, err := entry.Parse(p.Entry)
	if err != nil {
		return failf(exitFound, "the proof %s holds, but its entry cannot be read: %w", c.file, err)
	}
	if err := a.matchCertificate(c, p.Entry, issuers); err != nil {
		return err
	}
	if name, _, _ := strings.Cut(key, "+"); name != cp.Origin {
		a.note("The key is that of %s, the proof is of %s: two epochs of one ledger, with the same key.", name, cp.Origin)
	}
	out := proven{
		Valid: true, Origin: cp.Origin, Index: p.Index, Entries: cp.Size, Kind: strings.ReplaceAll(e.Kind.String(), "-", "_"),
		Time: e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), Actor: e.Actor, Certificate: c.cert,
	}
	r := rows{portrait: true, columns: columnsOf("Verdict", "Ledger", "Entry", "Kind", "Time", "Actor", "Certificate", "Leaf hash")}
	r.add(strconv.FormatUint(p.Index, 10), "ok", cp.Origin, fmt.Sprintf("%d of %d", p.Index, cp.Size), out.Kind, out.Time, out.Actor, c.cert, hex.EncodeToString(p.Leaf[:]))
	return a.print(out, r)
}

// matchCertificate compares the certificate of --cert with the entry.
func (a *app) matchCertificate(c proofCheck, raw []byte, issuers []string) error {
	if c.cert == "" {
		if len(issuers) > 0 {
			return usagef("--issuer goes with --cert")
		}
		a.note("No certificate was compared with the entry: give it with --cert.")
		return nil
	}
	certificates, err := a.readCertificates(c.cert)
	if err != nil {
		return err
	}
	var issuer *x509.Certificate
	if len(issuers) > 1 {
		return usagef("--issuer names one certificate with --proof")
	}
	if len(issuers) == 1 {
		list, err := a.readCertificates(issuers[0])
		if err != nil {
			return err
		}
		issuer = list[0]
	}
	if err := ledger.MatchCertificate(raw, certificates[0].Raw, issuer); err != nil {
		return failf(exitFound, "%s is not what the proof %s is about: %w", c.cert, c.file, err)
	}
	return nil
}

// verifierKey is the verifier key itself, or the one in a file.
func (a *app) verifierKey(text string) (string, error) {
	if strings.Count(text, "+") >= 2 && !exists(text) {
		return text, nil
	}
	data, err := plainfile.Read(text, maxInput)
	if err != nil {
		return "", usagef("--key %.128q is neither a verifier key (NAME+HASH+KEY) nor a file with one; certwright ledger status shows it", text)
	}
	key := strings.TrimSpace(string(data[:min(len(data), proof.MaxSize)]))
	if strings.Count(key, "+") < 2 || strings.ContainsAny(key, " \n") {
		return "", usagef("%s holds no verifier key (NAME+HASH+KEY); certwright ledger status shows it", text)
	}
	return key, nil
}
