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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	defaultGRPCPort = "8444"
	maxSocketPath   = 107 // what sockaddr_un holds on Linux
	maxTokenFile    = 4096
	maxMessage      = 64 << 20 // what an answer may have; the server's pages are far smaller
)

// dial opens a connection to the server that the flags name. Nothing is sent yet.
func (a *app) dial() (*grpc.ClientConn, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	server := a.server
	if server == "" {
		server = "unix:" + filepath.Join(a.data, "admin.sock")
	}
	options := []grpc.DialOption{
		grpc.WithUserAgent("certwright-cli/" + version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		return dialSocket(strings.TrimPrefix(path, "//"), token, options)
	}
	address, err := grpcAddress(server)
	if err != nil {
		return nil, err
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{token: token, tls: true}))
	}
	return grpc.NewClient("passthrough:///"+address, options...)
}

func dialSocket(path, token string, options []grpc.DialOption) (*grpc.ClientConn, error) {
	if len(path) > maxSocketPath {
		return nil, usagef("the socket path %s has %d bytes, the system allows %d; use a shorter --data, or a relative one", path, len(path), maxSocketPath)
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failf(exitUnavailable, "no server at %s; start one with: certwright serve --dev", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, failf(exitAuth, "no access to %s; run this as root or as the server's user, or use --server with --token-file", path)
	case err != nil:
		return nil, err
	}
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	options = append(options, grpc.WithContextDialer(dialer), grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{token: token}))
	}
	return grpc.NewClient("passthrough:///"+path, options...)
}

// grpcAddress is the host:port that --server names.
func grpcAddress(server string) (string, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(server, "https://"), "/")
	if strings.Contains(address, "/") {
		return "", usagef("--server %s is not HOST:PORT, https://HOST:PORT or unix:PATH", server)
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address, nil
	}
	address = net.JoinHostPort(strings.Trim(address, "[]"), defaultGRPCPort)
	if _, _, err := net.SplitHostPort(address); err != nil || strings.HasPrefix(address, ":") {
		return "", usagef("--server %s is not HOST:PORT, https://HOST:PORT or unix:PATH", server)
	}
	return address, nil
}

// rootFile is the file with the trusted roots: --ca, else DATA/root.crt if it is
// there, else "".
func (a *app) rootFile() string {
	if a.ca != "" {
		return a.ca
	}
	if file := filepath.Join(a.data, "root.crt"); exists(file) {
		return file
	}
	return ""
}

// roots are the trusted roots; nil for those of the system.
func (a *app) roots() (*x509.CertPool, error) {
	file := a.rootFile()
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, failf(exitFailure, "%s has no certificate in PEM; --ca takes the root's certificate", file)
	}
	return pool, nil
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// token is the join token of --token-file, or "".
func (a *app) token() (string, error) {
	if a.tokenFile == "" {
		return "", nil
	}
	var from io.Reader = a.in
	if a.tokenFile != "-" {
		f, err := os.Open(a.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if len(text) > maxTokenFile || token == "" || strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return "", failf(exitUsage, "%s is not a file with one token; certwright token create --out FILE makes one", a.tokenFile)
	}
	return token, nil
}

// bearer sends a join token with each call.
type bearer struct {
	token string
	tls   bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.tls }

// ask calls one unary method of the server and waits at most --timeout.
func (a *app) ask(ctx context.Context, call func(context.Context, *grpc.ClientConn) error) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	return a.reached(call(ctx, conn))
}
