package acme

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/hook"
	"github.com/certwright/certwright/client/steady"
)

const (
	wellKnown   = ".well-known/acme-challenge"
	commandTime = 2 * time.Minute
	hookLimit   = 16 << 10
)

// tokenForm is what a token may be (RFC 8555 §8: base64url, at least 128 bits). It is
// part of a path and of a URL here: a server that sends "../" is refused
// (CVE-2026-40611).
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,256}$`)

func checkToken(token, keyAuth string) error {
	if !tokenForm.MatchString(token) {
		return fmt.Errorf("the ACME server sent a token that is none: %.100q", token)
	}
	if !strings.HasPrefix(keyAuth, token+".") {
		return errors.New("the key authorization is not the token's")
	}
	return nil
}

// responder answers http-01 itself, for as long as one challenge takes.
type responder struct {
	address string
	server  *http.Server
}

// Present implements challenge.Provider.
func (r *responder) Present(_, token, keyAuth string) error {
	if err := checkToken(token, keyAuth); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", r.address)
	if err != nil {
		return fmt.Errorf("acme.http_address: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+wellKnown+"/"+token, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, keyAuth)
	})
	r.server = &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func(s *http.Server) { _ = s.Serve(listener) }(r.server) // ends with CleanUp
	return nil
}

// CleanUp implements challenge.Provider.
func (r *responder) CleanUp(_, _, _ string) error {
	if r.server == nil {
		return nil
	}
	return r.server.Close()
}

// webroot puts files where a web server finds them. Others may write there, too: no
// link in it is followed, and what is there already is not written to.
type webroot struct{ dir string }

// Present implements challenge.Provider.
func (w *webroot) Present(_, token, keyAuth string) error {
	if err := checkToken(token, keyAuth); err != nil {
		return err
	}
	err := w.inside(true, func(at *os.Root) error {
		if err := removed(at, token); err != nil {
			return err
		}
		// Whatever the umask is: the web server is another user.
		return steady.Create(at, token, steady.Plain([]byte(keyAuth), 0o644))
	})
	if err != nil {
		return fmt.Errorf("acme.webroot: %w", err)
	}
	return nil
}

// CleanUp implements challenge.Provider.
func (w *webroot) CleanUp(_, token, keyAuth string) error {
	if err := checkToken(token, keyAuth); err != nil {
		return err
	}
	return w.inside(false, func(at *os.Root) error { return removed(at, token) })
}

// inside does something in the folder of the challenges, which is made if that is
// wanted.
func (w *webroot) inside(made bool, do func(*os.Root) error) error {
	top, err := steady.Open(w.dir)
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	at := top
	for name := range strings.SplitSeq(wellKnown, "/") {
		next, err := steady.Inside(at, name)
		if made && errors.Is(err, fs.ErrNotExist) {
			next, err = steady.New(at, name, 0o755)
		}
		if err != nil {
			return err
		}
		defer func() { _ = next.Close() }()
		at = next
	}
	return do(at)
}

// removed removes a file; that it is not there is no error.
func removed(at *os.Root, name string) error {
	if err := at.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// records sets the TXT records of dns-01 by a program.
type records struct {
	ctx  context.Context //nolint:containedctx // lego's interface has none: the program ends with the attempt
	argv []string
}

// Present implements challenge.Provider.
func (r *records) Present(domain, token, keyAuth string) error {
	return r.run("present", domain, token, keyAuth)
}

// CleanUp implements challenge.Provider.
func (r *records) CleanUp(domain, token, keyAuth string) error {
	return r.run("cleanup", domain, token, keyAuth)
}

// run calls the program for the record of RFC 8555 §8.4.
func (r *records) run(verb, domain, token, keyAuth string) error {
	if err := checkToken(token, keyAuth); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(keyAuth))
	name := "_acme-challenge." + strings.TrimPrefix(domain, "*.") + "."
	argv := append(append([]string(nil), r.argv...), verb, name, base64.RawURLEncoding.EncodeToString(sum[:]))
	ctx := r.ctx
	if verb == "cleanup" {
		ctx = context.WithoutCancel(ctx) // records do not stay because the agent ends
	}
	_, _, err := hook.Run(ctx, hook.Program{Argv: argv, Timeout: commandTime, Limit: hookLimit})
	if err != nil {
		return fmt.Errorf("acme.dns_command: %w", err)
	}
	return nil
}
