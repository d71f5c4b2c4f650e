package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/client/steady"
	"github.com/certwright/certwright/plainfile"
)

// maxSocketPath is what sockaddr_un holds on Linux.
const maxSocketPath = 107

// dial opens a connection to the server that the flags name. Nothing is sent yet.
func (a *app) dial(ctx context.Context) (*grpc.ClientConn, error) {
	shown, err := a.credentials()
	if err != nil {
		return nil, err
	}
	return a.dialWith(ctx, shown)
}

// credentials are what a call shows: a bearer token, a client certificate, or nothing.
type credentials struct {
	token string
	cert  *tls.Certificate
	root  func(*x509.Certificate) error // see client.Config; nil: any root that is trusted
}

// dialWith is dial with these credentials and no other.
func (a *app) dialWith(ctx context.Context, shown credentials) (*grpc.ClientConn, error) {
	c := client.Config{Server: a.server, UserAgent: "certwright-cli/" + version, Root: shown.root}
	if shown.token != "" {
		c.Token = func(context.Context) (string, error) { return shown.token, nil }
	}
	if shown.cert != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.cert, nil }
	}
	if c.Server == "" {
		c.Server = "unix:" + filepath.Join(a.data, "admin.sock")
	}
	if path, ok := strings.CutPrefix(c.Server, "unix:"); ok {
		if err := reachable(strings.TrimPrefix(path, "//")); err != nil {
			return nil, err
		}
		// It lies in the folder one is in, and somebody else may have put it there.
		c.OwnSocket = shown.token != "" && a.server == "" && !a.dataNamed
	} else if _, err := client.Address(c.Server); err != nil {
		return nil, usagef("--server: %w", err)
	}
	if c.Fingerprint = a.fingerprint; c.Fingerprint == "" {
		c.CAFile = a.rootFor(c.Server)
	} else if _, err := client.ParseFingerprint(c.Fingerprint); err != nil {
		return nil, usagef("--%w", err)
	}
	if c.CAFile != "" {
		if _, err := readPool(c.CAFile); err != nil {
			return nil, err
		}
	}
	return client.Dial(ctx, c)
}

// reachable says in words why a socket cannot be connected to.
func reachable(path string) error {
	if len(path) > maxSocketPath {
		return usagef("the socket path %s has %d bytes, the system allows %d; use a shorter --data, or a relative one", path, len(path), maxSocketPath)
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitUnavailable, "no server at %s; start one with: certwright serve --dev", path)
	case errors.Is(err, fs.ErrPermission):
		return failf(exitAuth, "no access to %s; run this as root or as the server's user, or use --server with --token-file", path)
	case err != nil:
		return err
	}
	return nil
}

// rootFile is the file with the trusted roots: --ca, else DATA/root.crt if it is
// there and no other user's, unless DATA is named; else "".
func (a *app) rootFile() string {
	if a.ca != "" {
		return a.ca
	}
	if file := filepath.Join(a.data, "root.crt"); exists(file) && (a.dataNamed || !a.foreign(file)) {
		return file
	}
	return ""
}

// foreign tells of a file that it, or the folder it is in, is another user's, or can be
// written by others: somebody may have put it where one happens to be. So may he have a
// link to what is one's own.
func (a *app) foreign(file string) bool {
	for _, path := range []string{file, filepath.Dir(file)} {
		link, err := os.Lstat(path)
		if err != nil || !steady.Trusted(link) {
			return true
		}
		info, err := os.Stat(path)
		if err != nil || steady.Foreign(info) {
			return true
		}
	}
	return false
}

// rootFor is the file with the roots to trust a server by; "": those of the system. The
// data folder is often that of the folder one happens to be in, and somebody else may
// have filled it: it says who is a server of this machine, and of no other.
func (a *app) rootFor(server string) string {
	if a.ca != "" {
		return a.ca
	}
	if onLoopback(server) {
		return a.rootFile()
	}
	return ""
}

// onLoopback tells a server of this machine.
func onLoopback(server string) bool {
	address, err := client.Address(server)
	if err != nil {
		return false
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// readPool reads a file of roots.
func readPool(file string) (*x509.CertPool, error) {
	text, err := plainfile.Read(file, maxInput)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("%s has no certificate in PEM; --ca takes the root's certificate", file)
	}
	return pool, nil
}

// readable is nil, or why a file of the server cannot be read here.
func readable(file string) error {
	f, err := plainfile.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitNotFound, "there is no file %s; --data names the server's data folder", file)
	}
	if err != nil {
		return missing(err)
	}
	return f.Close()
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// credentials are the token of --token-file, else the session with the server, else none.
func (a *app) credentials() (credentials, error) {
	if a.tokenFile != "" {
		token, err := a.token()
		return credentials{token: token}, err
	}
	kept, err := a.keptSession()
	if err != nil || kept == nil {
		return credentials{}, err
	}
	a.inSession = true
	return a.sessionCredentials(kept), nil
}

// token is that of --token-file.
func (a *app) token() (string, error) {
	var from io.Reader = a.in
	if a.tokenFile != "-" {
		f, err := plainfile.Open(a.tokenFile)
		if errors.Is(err, plainfile.ErrNotRegular) {
			return "", usagef("--token-file: %w; - reads standard input", err)
		}
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read
		from = f
	} else if typed, ok := a.in.(*os.File); ok && isTerminal(typed) {
		return a.askToken(typed)
	}
	token, err := client.ReadToken(from)
	if err != nil {
		return "", failf(exitUsage, "%s is not a file with one token: %w; certwright token create --out FILE makes one", a.tokenFile, err)
	}
	return token, nil
}

// askToken reads the token from the terminal, which does not show it.
func (a *app) askToken(terminal *os.File) (string, error) {
	_, _ = fmt.Fprint(a.err, "Token (it is not shown): ")
	text, err := term.ReadPassword(int(terminal.Fd()))
	_, _ = fmt.Fprintln(a.err)
	if err != nil {
		return "", err
	}
	token, err := client.ReadToken(bytes.NewReader(text))
	if err != nil {
		return "", usagef("that is no token: %w", err)
	}
	return token, nil
}

// ask calls one unary method of the server and waits at most --timeout.
func (a *app) ask(ctx context.Context, call func(context.Context, *grpc.ClientConn) error) error {
	conn, err := a.dial(ctx)
	return a.askOn(ctx, conn, err, call)
}

// askWith is ask with these credentials; see dialWith.
func (a *app) askWith(ctx context.Context, shown credentials, call func(context.Context, *grpc.ClientConn) error) error {
	conn, err := a.dialWith(ctx, shown)
	return a.askOn(ctx, conn, err, call)
}

func (a *app) askOn(ctx context.Context, conn *grpc.ClientConn, err error, call func(context.Context, *grpc.ClientConn) error) error {
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	return a.reached(call(ctx, conn))
}
