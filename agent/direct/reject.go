package direct

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/client"
)

// alertTime is how long an alert is waited for.
const alertTime = 5 * time.Second

// rejects is the alert with which the server refuses the certificate: it is revoked,
// or unknown there. nil: it does not, or nobody can tell.
//
// In TLS 1.3 the client is done before the server has judged its certificate, and
// gRPC writes at once: what comes of the alert is then often a broken pipe. So this
// makes a connection that only listens.
func (s *Source) rejects(ctx context.Context, p proof) error {
	address, err := client.Address(s.Server)
	if err != nil {
		return nil
	}
	roots, err := config.Roots(s.CAFile)
	if err != nil {
		return nil
	}
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: alertTime}, Config: &tls.Config{
		RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, GetClientCertificate: p.show,
	}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return alertIn(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(alertTime))
	_, err = conn.Read(make([]byte, 1))
	return alertIn(err)
}

// alertIn is err, if the server has sent an alert that is about the certificate.
func alertIn(err error) error {
	if err == nil {
		return nil
	}
	for _, about := range []string{"certificate", "unknown CA", "access denied"} {
		if text := err.Error(); strings.Contains(text, "remote error: tls:") && strings.Contains(text, about) {
			return err
		}
	}
	return nil
}
