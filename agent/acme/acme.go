// Package acme gets certificates by ACME (RFC 8555, 9773) from any CA, with lego. The
// server is not trusted: its URLs must be on the directory's host over https, its
// answers have limits, its tokens must be tokens.
package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	legoacme "github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/lego"
	legolog "github.com/go-acme/lego/v4/log"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/agent/source"
)

// readyTime is how long a server may take to make the certificate of an order.
const readyTime = time.Minute

// Source is one directory with one account. One certificate is asked for at a time:
// the challenge's port is one.
type Source struct {
	Config    config.ACME
	State     string // folder of the account
	UserAgent string
	Logger    *slog.Logger

	mu sync.Mutex
}

// quiet keeps lego's own log, which goes to standard error, out of ours. It is
// lego's one global.
var quiet = sync.OnceFunc(func() { legolog.Logger = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) })

// client is lego's, for one attempt.
func (s *Source) client(ctx context.Context) (*lego.Client, *account, error) {
	quiet()
	roots, err := config.Roots(s.Config.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("acme.ca_file: %w", err)
	}
	requests, err := httpClient(ctx, s.Config.Directory, roots)
	if err != nil {
		return nil, nil, err
	}
	a, err := s.account(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := lego.NewClient(&lego.Config{
		CADirURL: s.Config.Directory, User: a, UserAgent: s.UserAgent, HTTPClient: requests,
		Certificate: lego.CertificateConfig{KeyType: certcrypto.EC256, Timeout: readyTime},
	})
	if err != nil {
		return nil, nil, failure(fmt.Errorf("ACME directory: %w", err))
	}
	return c, a, nil
}

// Obtain makes an order and answers its challenges.
func (s *Source) Obtain(ctx context.Context, r source.Request) (answer source.Answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer survive(&err)
	c, a, err := s.client(ctx)
	if err != nil {
		return answer, err
	}
	if a.Registration == nil {
		if err := s.register(c, a); err != nil {
			return answer, err
		}
		// The client signs by the account's URL from here on.
		if c, a, err = s.client(ctx); err != nil {
			return answer, err
		}
	}
	if err := s.challenges(ctx, c); err != nil {
		return answer, err
	}
	request := certificate.ObtainForCSRRequest{CSR: r.CSR, Bundle: true, Profile: r.Profile}
	if r.Validity > 0 {
		request.NotAfter = time.Now().Add(r.Validity)
	}
	if r.Predecessor != nil {
		// A certificate without a key identifier of its issuer has no ID: it is then not named.
		request.ReplacesCertID, _ = certificate.MakeARICertID(r.Predecessor.Leaf())
	}
	got, err := c.Certificate.ObtainForCSR(request)
	var replaced *legoacme.AlreadyReplacedError
	if errors.As(err, &replaced) && request.ReplacesCertID != "" {
		request.ReplacesCertID = "" // its successor was lost, with a crash of ours for example
		got, err = c.Certificate.ObtainForCSR(request)
	}
	if err != nil {
		return answer, s.lost(a, failure(err))
	}
	return source.Answer{Certificate: got.Certificate}, nil
}

// lost forgets an account that the server does not know, so that the next attempt
// makes it again.
func (s *Source) lost(a *account, err error) error {
	var p *legoacme.ProblemDetails
	if errors.As(err, &p) && p.Type == "urn:ietf:params:acme:error:accountDoesNotExist" {
		a.Registration = nil
		return errors.Join(err, a.save())
	}
	return err
}

func (s *Source) challenges(ctx context.Context, c *lego.Client) error {
	if s.Config.Challenge == string(challenge.DNS01) {
		return c.Challenge.SetDNS01Provider(&records{ctx: ctx, argv: s.Config.DNSCommand},
			dns01.DisableAuthoritativeNssPropagationRequirement(),
			dns01.WrapPreCheck(func(string, string, string, dns01.PreCheckFunc) (bool, error) { return true, nil }))
	}
	if s.Config.Webroot != "" {
		return c.Challenge.SetHTTP01Provider(&webroot{dir: s.Config.Webroot})
	}
	return c.Challenge.SetHTTP01Provider(&responder{address: s.Config.HTTPAddress})
}

// Window asks for the renewal information (RFC 9773).
func (s *Source) Window(ctx context.Context, h *folder.Held) (w source.Window, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer survive(&err)
	c, _, err := s.client(ctx)
	if err != nil {
		return w, err
	}
	info, err := c.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: h.Leaf()})
	if err != nil {
		return w, failure(err)
	}
	return source.Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End, AskAgain: info.RetryAfter}, nil
}

// survive makes an error of a panic in lego, which a server's answer can cause.
func survive(err *error) {
	if what := recover(); what != nil {
		*err = &source.Failure{Err: fmt.Errorf("the ACME server's answer cannot be read: %.200q", fmt.Sprint(what))}
	}
}

// failure says what a server's error means. No certificate comes of an order that
// failed, so all but an unclear answer is a refusal.
func failure(err error) error {
	f := &source.Failure{Err: &source.Said{Text: source.Words(err.Error()), Err: err}}
	var p *legoacme.ProblemDetails
	if errors.As(err, &p) && p.HTTPStatus >= 400 && p.HTTPStatus < 500 {
		f.Refused = true
	}
	var limited *legoacme.RateLimitedError
	if errors.As(err, &limited) {
		f.Wait = retryAfter(limited.RetryAfter)
	}
	return f
}

func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<24)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	d, err := api.ParseRetryAfter(text)
	if err != nil {
		return 0
	}
	return max(0, d)
}
