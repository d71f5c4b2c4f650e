package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/client/login"
	"github.com/certwright/certwright/plainfile"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// loginWish is what the flags of login say.
type loginWish struct {
	provider, providerCA string
	device, noBrowser    bool
	cert, key            string
	lifetime             span
}

func loginCommand(a *app) *cobra.Command {
	w := loginWish{}
	cmd := leaf{
		use: "login --server HOST:PORT [flags]", short: "Log in: open a short session with a server",
		long: `
Opens a session with the server of --server (CERTWRIGHT_SERVER) and keeps its token
in $XDG_STATE_HOME/certwright/sessions, readable by you alone. Commands use it
until it ends, unless --token-file says otherwise. What you may do is what the
policy's roles say at each call.

Without --cert you log in at the identity provider that the server names: in the
browser of this machine (the URL is printed too), or with --device on any other.
With --cert and --key the certificate is the proof; it must have a role.`,
		example: `
certwright login --server ca.internal
certwright login --server ca.internal --device
certwright login --server ca.internal --cert admin.crt --key admin.key --lifetime 15m`,
		next: "certwright whoami",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			server, err := a.sessionServer()
			switch {
			case err != nil:
				return err
			case server == "":
				return usagef("certwright login needs --server HOST:PORT; on the admin socket you are an admin without it")
			case w.key == "" && w.cert != "":
				return usagef("--cert %s needs its private key too: --key FILE", w.cert)
			case w.cert == "" && w.key != "":
				return usagef("--key %s needs its certificate too: --cert FILE", w.key)
			case w.cert != "" && (w.device || w.provider != "" || w.providerCA != ""):
				return usagef("--cert is a proof by itself: leave --device, --provider and --provider-ca out")
			case a.tokenFile != "":
				return usagef("login takes no token: leave --token-file and CERTWRIGHT_TOKEN_FILE out, which would stand before the session")
			}
			return a.login(cmd.Context(), server, w)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&w.provider, "provider", "", "URL of the identity provider, if the server names several")
	flags.BoolVar(&w.device, "device", false, "log in on another device: shows a code to type there")
	flags.BoolVar(&w.noBrowser, "no-browser", false, "only print the URL, open no browser")
	flags.StringVar(&w.providerCA, "provider-ca", "", "file with the root certificates of the identity provider, PEM (default: the system's)")
	flags.StringVar(&w.cert, "cert", "", "client certificate to log in with, PEM, with its intermediates")
	flags.StringVar(&w.key, "key", "", "its private key, PEM")
	flags.Var(&w.lifetime, "lifetime", "how long the session lasts (default: as long as the server allows)")
	a.outputFlag(cmd)
	for _, flag := range []string{"provider-ca", "cert", "key"} {
		_ = cmd.MarkFlagFilename(flag)
	}
	return cmd
}

// login proves who calls, opens a session and keeps it.
func (a *app) login(ctx context.Context, server string, w loginWish) error {
	if _, err := a.sessionPlace(server); err != nil {
		return err
	}
	var shown credentials
	var err error
	if w.cert != "" {
		shown.cert, err = readPair(w.cert, w.key)
	} else {
		shown.token, err = a.idToken(ctx, w)
	}
	if err != nil {
		return err
	}
	var root atomic.Pointer[x509.Certificate] // that the server is under
	shown.root = func(of *x509.Certificate) error {
		root.Store(of)
		return nil
	}
	request := &pb.CreateSessionRequest{}
	if w.lifetime != 0 {
		request.Lifetime = durationpb.New(time.Duration(w.lifetime))
	}
	var made *pb.CreateSessionResponse
	err = a.askWith(ctx, shown, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		made, err = pb.NewSessionServiceClient(conn).CreateSession(ctx, request)
		return err
	})
	if err != nil {
		f := a.explain(err)
		if shown.cert != nil && f.code == exitUnavailable {
			f.detail = append(f.detail, "or it does not take this certificate: one that is revoked, expired or of another CA is refused in the handshake")
		}
		return f
	}
	s := made.GetSession()
	opened := keptSession{
		Server: server, Root: client.Fingerprint(root.Load()), ID: s.GetId(), Token: made.GetToken(), Expires: s.GetExpireTime().AsTime(),
	}
	path, former, formerErr, err := a.replaceKept(opened)
	if err != nil {
		a.notKept(context.WithoutCancel(ctx), &opened, former, formerErr) // --timeout bounds it
		return err
	}
	a.note("Logged in to %s; the session is kept in %s.", server, path)
	a.endFormer(ctx, former, formerErr)
	made.Token = "" // nobody needs to see it
	return a.print(made, selfRows(s.GetPrincipal(), s.GetName(), made.GetRoles(), s))
}

// endFormer revokes the session whose place another has taken: nobody could log out of
// it any more. What stands against that is told, and the login holds.
func (a *app) endFormer(ctx context.Context, former *keptSession, err error) {
	switch {
	case err != nil:
		a.note("A session was kept here before, and is not known any more: %v. Look for it: certwright session list", err)
		return
	case former == nil || time.Now().After(former.Expires):
		return
	}
	a.end(ctx, "The session before", former)
}

// replaceKept keeps a session, and answers which was kept before.
func (a *app) replaceKept(opened keptSession) (path string, former *keptSession, formerErr, err error) {
	defer a.holdSessions(opened.Server)()
	former, formerErr = a.keptSession()
	path, err = a.keep(opened)
	return path, former, formerErr, err
}

// notKept ends what nobody can use any more after a login that could not be kept: its own
// session, and the one before, unless that is what the file has still.
func (a *app) notKept(ctx context.Context, opened, former *keptSession, formerErr error) {
	over := a.end(ctx, "The new session", opened)
	now, err := a.leftOf(opened, over)
	switch {
	case err != nil && now == nil && former != nil:
		a.note("Whether the session before, %s, is still kept cannot be told: %v. Look for it: certwright session list", former.ID, err)
	case (now != nil || err == nil) && (now == nil || former == nil || now.ID != former.ID):
		a.endFormer(ctx, former, formerErr)
	}
}

// leftOf is the session that is kept now, and is forgotten if it is s, which is over: another
// login may have taken its place. An error beside a session is that it is not forgotten.
// A folder that is not there may come back.
func (a *app) leftOf(s *keptSession, over bool) (*keptSession, error) {
	defer a.holdSessions(s.Server)()
	now, err := a.keptSession()
	if err == nil && now == nil {
		_, err = os.Stat(filepath.Dir(a.sessionFile(s.Server)))
	}
	if over && err == nil && now != nil && now.ID == s.ID {
		err = a.forget(s.Server)
	}
	return now, err
}

// end revokes a session, tells what became of it, and answers whether it is over.
func (a *app) end(ctx context.Context, which string, s *keptSession) bool {
	err := a.revokeKept(ctx, s)
	if err == nil {
		a.note("%s, %s, is revoked.", which, s.ID)
		return true
	}
	if sessionIsOver(err) {
		return true
	}
	a.note("%s, %s, could not be revoked and goes on until %s: %s", which, s.ID, s.Expires.Local().Format(time.TimeOnly), a.explain(err).text)
	return false
}

// sessionIsOver tells of a server's answer to a session that it is no session any more,
// and not only one that is refused as the server is configured now.
func sessionIsOver(err error) bool {
	switch reasonOf(err) {
	case "SESSION_INVALID", "SESSION_REVOKED", "SESSION_EXPIRED", "SESSION_NOT_FOUND":
		return true
	}
	return false
}

// revokeKept revokes a session by itself.
func (a *app) revokeKept(ctx context.Context, s *keptSession) error {
	return a.askWith(ctx, a.sessionCredentials(s), func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := pb.NewSessionServiceClient(conn).RevokeSession(ctx, &pb.RevokeSessionRequest{Id: s.ID})
		return err
	})
}

// readPair reads a client certificate and its key.
func readPair(cert, key string) (*tls.Certificate, error) {
	for _, file := range []string{cert, key} {
		if f, err := plainfile.Open(file); errors.Is(err, plainfile.ErrNotRegular) {
			return nil, usagef("%w", err)
		} else if err != nil {
			return nil, missing(err)
		} else if err := f.Close(); err != nil {
			return nil, err
		}
	}
	pair, err := client.LoadPair(cert, key)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, usagef("%s is not the key of the certificate %s; give its own by --key", key, cert)
	case err != nil:
		return nil, failf(exitUsage, "%s and %s are no certificate with its key: %w; --cert takes a certificate in PEM, --key its private key", cert, key, err)
	}
	return &pair, nil
}

// idToken logs in at an identity provider.
func (a *app) idToken(ctx context.Context, w loginWish) (string, error) {
	var answer *pb.ListProvidersResponse
	err := a.askWith(ctx, credentials{}, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pb.NewSessionServiceClient(conn).ListProviders(ctx, &pb.ListProvidersRequest{})
		return err
	})
	if err != nil {
		return "", err
	}
	p, err := pickProvider(answer.GetProviders(), w.provider)
	if err != nil {
		return "", err
	}
	roots, err := providerRoots(w.providerCA)
	if err != nil {
		return "", err
	}
	transport := login.Transport(roots)
	defer transport.CloseIdleConnections()
	c := login.Config{Issuer: p.GetIssuer(), ClientID: p.GetClientId(), Scopes: p.GetScopes(), Transport: transport}
	var token string
	if w.device {
		token, err = login.Device(ctx, c, a.showDevice)
	} else {
		closePage := func() {}
		token, err = login.Code(ctx, c, func(url string) { closePage = a.showURL(url, w.noBrowser) })
		closePage()
	}
	if err != nil {
		return "", failf(exitAuth, "nobody is logged in: %w", err)
	}
	return token, nil
}

func pickProvider(all []*pb.Provider, wanted string) (*pb.Provider, error) {
	var names []string
	for _, p := range all {
		names = append(names, p.GetIssuer())
	}
	at := slices.Index(names, wanted)
	switch {
	case len(all) == 0:
		return nil, failf(exitConflict, "the server names no identity provider to log in at: give --cert and --key, or have oidc.issuers[].login_client_id configured")
	case at >= 0:
		return all[at], nil
	case wanted != "":
		return nil, usagef("--provider %s is not one of %s", wanted, strings.Join(names, ", "))
	case len(all) > 1:
		return nil, usagef("the server names several identity providers; choose with --provider one of %s", strings.Join(names, ", "))
	}
	return all[0], nil
}

func providerRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := plainfile.Read(file, maxInput)
	if err != nil {
		return nil, fmt.Errorf("--provider-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("%s has no certificate in PEM; --provider-ca takes root certificates", file)
	}
	return pool, nil
}

// showURL shows where to log in, and opens it. The browser needs the page that leads
// there until closePage.
func (a *app) showURL(url string, noBrowser bool) (closePage func()) {
	a.note("Open this in a browser on this machine, if it does not open by itself:")
	a.note("  %s", url)
	if noBrowser {
		return func() {}
	}
	opened, closePage := a.openBrowser(url)
	if !opened {
		a.note("No browser could be opened here; certwright login --device logs in on another machine.")
	}
	return closePage
}

func (a *app) showDevice(p login.Prompt) {
	a.note("Open %s on any device and type %s there; the code is good until %s.", p.URL, p.Code, p.Expires.Format(time.TimeOnly))
	if p.Complete != "" {
		a.note("Or open this, and compare the code: %s", p.Complete)
	}
}
