package main

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/auth/token"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func tokenCreateCommand(a *app) *cobra.Command {
	request := &pb.CreateTokenRequest{}
	ttl := span(time.Hour)
	out, force, join := "", false, false
	cmd := leaf{
		use: "create [flags]", short: "Create a join token and print its secret, once",
		long: `
Creates a join token. It allows --uses certificates of the profiles, for names
that match the patterns ("*.x" is one more label, ".x" any depth below x), on
behalf of the owner, until --ttl has passed. The secret is shown here and never
again: on standard output, or in --out, readable by you alone.

With --join the whole line is printed that another host joins by: its shell hands the
token to "certwright join" through a pipe, so that no list of processes shows it.`,
		example: `
certwright token create --owner team-a --profile server --dns '*.team-a.internal' --ttl 1h
certwright token create --owner ci --profile server --dns '*.ci.internal' --ip 10.0.0.0/8 --uses 10 --ttl 2w --out ci.token
certwright token create --owner team-a --dns web.team-a.internal --ttl 15m --join`,
		next: "certwright join URL --fingerprint sha256:… --token-file FILE",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if err := checkToken(request, ttl); err != nil {
				return err
			}
			if join && out != "" {
				return usagef("--join prints the token in its line, and --out writes it into a file: give one of them")
			}
			if out == "" && (a.format == "name" || a.format == "csv") {
				return usagef("-o %s does not show the secret, which is shown once; give --out FILE with it", a.format)
			}
			if request.GetRequestId() == "" {
				request.RequestId = "cli-" + strings.ToLower(rand.Text())
			}
			request.Ttl = durationpb.New(time.Duration(ttl))
			files := &fileSet{dir: filepath.Dir(out), force: force}
			defer files.discard()
			if out != "" {
				if err := files.reserve(filepath.Base(out)); err != nil {
					return err
				}
			}
			return a.createToken(cmd.Context(), request, files, out, join)
		},
	}.command()
	tokenFlags(cmd, request)
	flags := cmd.Flags()
	flags.Var(&ttl, "ttl", "how long it can be used, 1m to 30d")
	flags.Int32Var(&request.Uses, "uses", 1, "how many certificates it is good for")
	flags.StringVar(&request.RequestId, "request-id", "", "idempotency key: the same request under it makes no second token")
	flags.StringVar(&out, "out", "", "write the secret into this file instead")
	flags.BoolVar(&force, "force", false, "replace the file if it is there")
	flags.BoolVar(&join, "join", false, "print the line by which another host joins, with the secret")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("out")
	_ = cmd.RegisterFlagCompletionFunc("profile", a.completeProfiles)
	return cmd
}

// checkToken finds what the server would not take.
func checkToken(request *pb.CreateTokenRequest, ttl span) error {
	switch {
	case request.GetUses() < 1:
		return usagef("--uses %d: a token is good for at least one certificate", request.GetUses())
	case time.Duration(ttl) < token.MinTTL || time.Duration(ttl) > token.MaxTTL:
		return usagef("--ttl %s is not between %s and %s", ttl.String(), formatDuration(token.MinTTL), formatDuration(token.MaxTTL))
	case request.GetOwner() == "":
		return usagef("certwright token create needs --owner: who answers for the certificates")
	case len(request.GetDnsPatterns())+len(request.GetIpPatterns())+len(request.GetUriPatterns())+len(request.GetEmailPatterns()) == 0:
		return usagef("certwright token create needs the names it allows: --dns, --ip, --uri or --email")
	}
	return nil
}

// tokenFlags are those that say what a token allows.
func tokenFlags(cmd *cobra.Command, request *pb.CreateTokenRequest) {
	flags := cmd.Flags()
	flags.StringVar(&request.Owner, "owner", "", "who answers for the certificates")
	flags.StringSliceVar(&request.Profiles, "profile", []string{defaultProfile}, "profile it may ask for; may be repeated")
	flags.StringSliceVar(&request.DnsPatterns, "dns", nil, "pattern of DNS names; may be repeated")
	flags.StringSliceVar(&request.IpPatterns, "ip", nil, "address or CIDR range; may be repeated")
	flags.StringSliceVar(&request.UriPatterns, "uri", nil, "pattern of URIs; may be repeated")
	flags.StringSliceVar(&request.EmailPatterns, "email", nil, "pattern of mailboxes; may be repeated")
}

// createToken asks for the token. Only the secret goes to standard output, so that
// it can be piped; json and yaml show the whole answer, without the secret if that
// went to a file.
func (a *app) createToken(ctx context.Context, request *pb.CreateTokenRequest, files *fileSet, out string, join bool) error {
	var answer *pb.CreateTokenResponse
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pb.NewTokenServiceClient(conn).CreateToken(ctx, request)
		return err
	})
	if err != nil {
		return err
	}
	made := answer.GetToken()
	if answer.GetSecret() == "" {
		return failf(exitConflict, "a token was made under this --request-id already, its ID is %s; its secret is not kept, so revoke it and create another", made.GetId())
	}
	if out != "" {
		if err := files.stage(filepath.Base(out), []byte(answer.GetSecret()+"\n")); err != nil {
			return err
		}
		if err := files.publish(); err != nil {
			return err
		}
		answer.Secret = ""
	}
	a.note("Token %s: %s of %s for %s, good for %d, expires %s.", made.GetId(), strings.Join(made.GetProfiles(), ", "), made.GetOwner(),
		strings.Join(append(append(append(made.GetDnsPatterns(), made.GetIpPatterns()...), made.GetUriPatterns()...), made.GetEmailPatterns()...), ", "),
		made.GetUses(), stamp(made.GetExpireTime()))
	tabular := a.format == "table" || a.format == "wide"
	line, notes := joinLine(a, answer)
	for _, note := range notes {
		if tabular {
			a.note("%s", note)
		}
	}
	switch {
	case !tabular:
		return a.print(answer, a.tokenRows(made))
	case out != "":
		a.note("Next: certwright cert issue NAME --token-file %s", quote(out))
		a.note("Or on another host: %s --token-file %s", line, quote(filepath.Base(out)))
		return nil
	case join:
		a.note("On the other host (the line holds the secret, and is shown once):")
		return a.write("echo " + quote(answer.GetSecret()) + " | " + line + "\n")
	}
	a.note("Its secret is on standard output, once. On another host this asks for it:")
	a.note("  %s", line)
	return a.write(answer.GetSecret() + "\n")
}

// joinLine is the command by which another host joins: by the server as it was reached,
// else as it knows itself. What the line leaves open, or decides, is said in the notes.
func joinLine(a *app, answer *pb.CreateTokenResponse) (line string, notes []string) {
	server, fingerprint := answer.GetServer(), answer.GetRootFingerprint()
	if a.server != "" && !strings.HasPrefix(a.server, "unix:") {
		server = a.server
	}
	if server == "" {
		server = "URL"
	}
	if fingerprint == "" {
		fingerprint = "sha256:…"
	}
	line = "certwright join " + quote(server) + " --fingerprint " + quote(fingerprint)
	exact := exactNames(answer.GetToken().GetDnsPatterns())
	switch {
	case len(exact) == 1 && len(answer.GetToken().GetDnsPatterns()) == 1:
		line += " --name " + quote(exact[0])
	case len(exact) > 0:
		notes = append(notes, "The line asks for the name of the host on which it is run; for another name, or several, add --name NAME to it.")
	}
	if profiles := answer.GetToken().GetProfiles(); len(profiles) > 1 {
		line += " --profile " + quote(profiles[0])
		notes = append(notes, "The line asks for the profile "+profiles[0]+"; the token also allows "+strings.Join(profiles[1:], ", ")+".")
	}
	return line, notes
}

// exactNames are those patterns that one name matches: themselves.
func exactNames(patterns []string) []string {
	var exact []string
	for _, p := range patterns {
		if !strings.HasPrefix(p, ".") && !strings.Contains(p, "*") {
			exact = append(exact, p)
		}
	}
	return exact
}
