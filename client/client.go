// Package client reaches a Certwright server over gRPC and has certificates
// signed for keys that never leave the caller's machine.
package client

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// DefaultPort is the gRPC port of a server that names none.
const DefaultPort = "8444"

// maxAnswer is the largest answer that is read, in bytes: a page of a thousand
// certificates with their chains.
const maxAnswer = 64 << 20

// Config says which server, how to know it, and who calls.
type Config struct {
	// Server is https://HOST[:PORT], HOST[:PORT] or unix:PATH (the admin socket).
	Server string
	// CAFile is a PEM file with the roots to trust. With neither CAFile nor
	// Fingerprint the system's roots are trusted.
	CAFile string
	// Fingerprint of the root certificate, "sha256:" and 64 hexadecimal digits: the
	// server must present a chain that ends in it. Not with CAFile.
	Fingerprint string
	// Token gives the bearer token for each call; nil, or an empty answer: none. It
	// is sent over TLS and the admin socket only.
	Token func(ctx context.Context) (string, error)
	// GetClientCertificate gives the certificate that the client shows in TLS; nil:
	// none. It is asked at each handshake.
	GetClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// Tries is how often a call is made at most that finds the server unavailable, with
	// random waits that grow. Only calls that do no harm twice are made again: those that
	// read, and those with a request ID. 0: once.
	Tries int
	// Root is asked at each handshake, after the server has proven itself, about the root
	// that its chain leads to; its error ends the connection. nil: any is right. It may be
	// asked by several goroutines at once. Sockets have no root.
	Root func(root *x509.Certificate) error
	// OwnSocket has a socket be shown nothing unless root or this user listens on it: for
	// one that nobody has named. Linux only; elsewhere the connection fails.
	OwnSocket bool
	// UserAgent of the calls; optional.
	UserAgent string
}

// Dial makes a connection. Nothing is sent before the first call: that one tells
// whether the server can be reached.
func Dial(ctx context.Context, c Config) (*grpc.ClientConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithUserAgent(c.UserAgent),
	}
	if c.Token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{c.Token}))
	}
	if c.Tries > 1 {
		options = append(options, grpc.WithChainUnaryInterceptor(retrying(c.Tries)))
	}
	if path, ok := strings.CutPrefix(c.Server, "unix:"); ok {
		return c.dialSocket(strings.TrimPrefix(path, "//"), options)
	}
	address, err := Address(c.Server)
	if err != nil {
		return nil, err
	}
	config, err := c.tls(address)
	if err != nil {
		return nil, err
	}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	return grpc.NewClient("dns:///"+address, options...)
}

// Address is the host:port of a server as people write it. Plain http is refused.
func Address(server string) (string, error) {
	host := server
	if strings.Contains(server, "://") {
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return "", fmt.Errorf("server %.128q is not https://HOST[:PORT], HOST[:PORT] or unix:PATH", server)
		}
		host = u.Host
	}
	if name, port, err := net.SplitHostPort(host); err == nil && name != "" && port != "" {
		return host, nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if bare == "" || strings.ContainsAny(bare, "/ []") || strings.Contains(bare, ":") && net.ParseIP(bare) == nil {
		return "", fmt.Errorf("server %.128q is not https://HOST[:PORT], HOST[:PORT] or unix:PATH", server)
	}
	return net.JoinHostPort(bare, DefaultPort), nil
}

// tls is how the server proves itself.
func (c *Config) tls(address string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetClientCertificate: c.GetClientCertificate}
	switch {
	case c.CAFile != "" && c.Fingerprint != "":
		return nil, errors.New("a CA file and a fingerprint: give one of them")
	case c.CAFile != "":
		roots, err := readRoots(c.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = poolOf(roots)
	case c.Fingerprint != "":
		want, err := ParseFingerprint(c.Fingerprint)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// VerifyConnection verifies instead, against the pinned root, resumed sessions too.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyPinned(state, host, want) }
	}
	if c.Root != nil {
		config.VerifyConnection = c.askRoot(config.VerifyConnection)
	}
	return config, nil
}

// askRoot is verify, if there is one, and then the question of Root.
func (c *Config) askRoot(verify func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if verify != nil {
			if err := verify(state); err != nil {
				return err
			}
		}
		root, err := rootOf(state, c.Fingerprint)
		if err != nil {
			return err
		}
		return c.Root(root)
	}
}

// ParseFingerprint reads "sha256:" and 64 hexadecimal digits, with or without
// colons between them: the SHA-256 of a certificate's DER.
func ParseFingerprint(text string) ([]byte, error) {
	digits, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), "sha256:")
	sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("fingerprint %.80q is not sha256: and 64 hexadecimal digits", text)
	}
	return sum, nil
}

// verifyPinned verifies the server's chain up to the one root with the
// fingerprint. The root must be among the certificates that the server sends.
func verifyPinned(state tls.ConnectionState, host string, want []byte) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, cert := range state.PeerCertificates {
		sum := sha256.Sum256(cert.Raw)
		if subtle.ConstantTimeCompare(sum[:], want) == 1 {
			roots.AddCert(cert)
			found = true
			continue
		}
		between.AddCert(cert)
	}
	if !found {
		return ErrOtherRoot
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return err
}

// bearer sends the token with each call.
type bearer struct {
	token func(ctx context.Context) (string, error)
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.token(ctx)
	if err != nil || token == "" {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a token never
// goes over a connection that others can read.
func (b bearer) RequireTransportSecurity() bool { return true }
