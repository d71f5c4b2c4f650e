package main

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/merkle/proof"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// wish is what cert issue and cert sign ask for besides names and key.
type wish struct {
	profile   string
	owner     string
	labels    map[string]string
	validity  span
	requestID string
	dryRun    bool
	proof     bool
}

// defaultProfile is what an admin who names none means. A join token's holder
// leaves the choice to the token's grant.
const defaultProfile = "server"

func (w *wish) flags(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&w.profile, "profile", "", "profile to issue under (default server; with a token, the one it allows)")
	flags.StringVar(&w.owner, "owner", "", "who answers for the certificate (default: what the grant says)")
	labelFlag(cmd, &w.labels, "label", "label that is kept with the certificate; may be repeated")
	flags.Var(&w.validity, "validity", "how long it shall be valid: 12h, 30d, 2w (default: what the profile says)")
	flags.StringVar(&w.requestID, "request-id", "", "idempotency key: the same request under it answers the same certificate")
	flags.BoolVar(&w.dryRun, "dry-run", false, "ask the policy only: nothing is signed, recorded or written")
	flags.BoolVar(&w.proof, "proof", false, "wait about a second for the proof that it is in the ledger, and write it as NAME.tlog-proof")
	_ = cmd.RegisterFlagCompletionFunc("profile", a.completeProfiles)
}

func (w *wish) request(a *app, csr string) *pb.SignCertificateRequest {
	profile, id := w.profile, w.requestID
	if profile == "" && a.tokenFile == "" {
		profile = defaultProfile
	}
	if id == "" {
		id = "cli-" + strings.ToLower(rand.Text())
	}
	request := &pb.SignCertificateRequest{
		Csr: csr, Profile: profile, Owner: w.owner, Labels: w.labels, RequestId: id, ValidateOnly: w.dryRun, WithProof: w.proof && !w.dryRun,
	}
	if w.validity != 0 {
		request.Validity = durationpb.New(time.Duration(w.validity))
	}
	return request
}

// delivered is the failure after the server has issued: nothing is lost but files.
func delivered(c *pb.Certificate, err error) error {
	return fmt.Errorf("the certificate with serial %s is issued, but its files could not be written: %w", c.GetSerial(), err)
}

// files are the names of the files that are written: others, then those of a
// certificate.
func (w *wish) files(base string, others ...string) []string {
	all := append(others, base+".crt", base+".chain.pem")
	if w.proof {
		all = append(all, base+proof.Ending)
	}
	return all
}

// proofCame tells whether the proof that was asked for is there.
func (w *wish) proofCame(c *pb.Certificate) error {
	if w.proof && c.GetLedgerProof() == "" {
		return failf(exitUnavailable, "the certificate is there, its proof is not: no checkpoint came in time; get it later with certwright ledger proof %s", c.GetSerial())
	}
	return nil
}
