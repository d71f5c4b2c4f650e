package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/ocsp"
)

func ocspGroup(a *app) *cobra.Command {
	return group("ocsp", "OCSP: ask for a certificate's state", `
OCSP responders answer whether a certificate is revoked (RFC 6960).`,
		ocspQueryCommand(a))
}

// ocspAnswer is the JSON of ocsp query.
type ocspAnswer struct {
	Status      string     `json:"status"`
	RevokeTime  *time.Time `json:"revokeTime,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	ThisUpdate  time.Time  `json:"thisUpdate"`
	NextUpdate  *time.Time `json:"nextUpdate,omitempty"`
	Fresh       bool       `json:"fresh"` // signed for this question
	Responder   string     `json:"responder"`
	URL         string     `json:"url"`
	Certificate string     `json:"certificate"`
}

// queryFlags are the flags of ocsp query.
type queryFlags struct{ issuer, url, hash string }

func ocspQueryCommand(a *app) *cobra.Command {
	f := &queryFlags{}
	cmd := leaf{
		use: "query FILE|SERIAL|ID [flags]", short: "Ask a responder for the state of a certificate",
		long: `
Asks the OCSP responder that a certificate names whether it is revoked, and checks
the answer's signature, times and nonce. A FILE needs its issuer's certificate:
that of --issuer, else of NAME.chain.pem beside NAME.crt, else the second in FILE.
A SERIAL or an ID is looked up at the server first. Exits with 8 unless the answer
is good.`,
		example: `
certwright ocsp query svc.internal.crt
certwright ocsp query svc.internal.crt --issuer issuing.crt --url http://ca.internal:8080/ocsp -o json`,
		next: "certwright cert revoke FILE",
		args: exactly("a FILE, SERIAL or ID"),
		run: func(cmd *cobra.Command, args []string) error {
			return f.query(cmd.Context(), a, args[0])
		},
	}.command()
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "file with the issuer's certificate")
	cmd.Flags().StringVar(&f.url, "url", "", "the responder's URL (default: as the certificate names it)")
	cmd.Flags().StringVar(&f.hash, "hash", "sha1", "hash that names the issuer in the question: sha1, which every responder knows, or sha256")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("issuer")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *queryFlags) query(ctx context.Context, a *app, text string) error {
	hash, ok := map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256}[f.hash]
	if !ok {
		return usagef("--hash: %q is neither sha1 nor sha256", f.hash)
	}
	cert, issuer, err := f.certificates(ctx, a, text)
	if err != nil {
		return err
	}
	if f.url == "" {
		if len(cert.OCSPServer) == 0 {
			return usagef("%s names no OCSP responder: give --url", text)
		}
		f.url = cert.OCSPServer[0]
	}
	if u, err := url.Parse(f.url); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("%q is no http URL of a responder", f.url)
	}
	question, err := ocsp.NewQuestion(cert, issuer, hash)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Duration(a.timeout)}
	defer client.CloseIdleConnections()
	answer, err := question.Ask(ctx, client, f.url)
	if err != nil {
		return failf(exitUnavailable, "no valid answer: %w", err)
	}
	if err := f.print(a, cert, answer); err != nil {
		return err
	}
	if answer.Status != "good" {
		return failf(exitFound, "the certificate is %s", answer.Status)
	}
	return nil
}

func (f *queryFlags) print(a *app, cert *x509.Certificate, answer ocsp.Answer) error {
	when := func(t time.Time) (*time.Time, string) {
		if t.IsZero() {
			return nil, ""
		}
		return &t, t.UTC().Format(time.RFC3339)
	}
	doc := ocspAnswer{
		Status: answer.Status, Reason: answer.Reason, ThisUpdate: answer.ThisUpdate, Fresh: answer.Fresh,
		Responder: "the issuer", URL: f.url, Certificate: fmt.Sprintf("%032x", cert.SerialNumber),
	}
	if answer.Responder != nil {
		doc.Responder = "a responder certificate of the issuer"
	}
	var revoked, next, fresh string
	doc.RevokeTime, revoked = when(answer.RevokedAt)
	doc.NextUpdate, next = when(answer.NextUpdate)
	if fresh = "no"; answer.Fresh {
		fresh = "yes"
	}
	r := rows{portrait: true, columns: columnsOf("Status", "Revoked", "Reason", "This update", "Next update", "Fresh", "Signed by", "URL")}
	r.add(doc.Status, doc.Status, revoked, doc.Reason, answer.ThisUpdate.UTC().Format(time.RFC3339), next, fresh, doc.Responder, f.url)
	return a.print(doc, r)
}

// certificates are the one that is asked for, and its issuer's.
func (f *queryFlags) certificates(ctx context.Context, a *app, text string) (cert, issuer *x509.Certificate, err error) {
	var chain []*x509.Certificate
	if exists(text) {
		all, err := a.readCertificates(text)
		if err != nil {
			return nil, nil, err
		}
		cert, chain = all[0], all[1:]
		if beside := strings.TrimSuffix(text, ".crt") + ".chain.pem"; f.issuer == "" && beside != text+".chain.pem" && exists(beside) {
			f.issuer = beside
		}
	} else {
		found, err := a.findCertificate(ctx, text)
		if err != nil {
			return nil, nil, err
		}
		all, err := parsePEM(found.GetPem() + found.GetChainPem())
		if err != nil || len(all) == 0 {
			return nil, nil, failf(exitConflict, "serial %s is %s: there is no certificate to ask for", found.GetSerial(), word(found.GetState()))
		}
		cert, chain = all[0], all[1:]
	}
	if f.issuer != "" {
		if chain, err = a.readCertificates(f.issuer); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range chain {
		if cert.CheckSignatureFrom(c) == nil {
			return cert, c, nil
		}
	}
	return nil, nil, usagef("the issuer's certificate of %s is not at hand: give --issuer", text)
}

// parsePEM reads the certificates of a text.
func parsePEM(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
