// Package mtls proves callers by their client certificates (TLS, RFC 8446
// §4.4.2): those of this CA, and those of other CAs that are configured, for
// devices.
//
// A certificate of this CA is one that the ledger's store has, octet by octet,
// as issued: no other CA can make one, whatever it is called. It is looked up when a
// connection is made, also by a resumed session (VerifyConnection), and again for
// each call, so that a revocation ends a connection that is kept.
package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Store is what is read of the storage.
type Store interface {
	ByFingerprint(ctx context.Context, sha256 [32]byte) (storage.Certificate, error)
}

// Config of an Authenticator.
type Config struct {
	Store Store
	// Own are this CA's certificates, issuers and roots: named to clients as those
	// whose certificates are asked for, and no CA of devices.
	Own []*x509.Certificate
	// Devices are other CAs.
	Devices []DeviceCA
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: none
}

// Authenticator proves client certificates. See auth.Authenticator. It may be used
// by many goroutines at once.
type Authenticator struct {
	store   Store
	cas     *x509.CertPool // named to clients
	devices []*deviceCA
	proven  *auth.Kept[proven]
	now     func() time.Time
	logger  *slog.Logger
}

// New checks the CAs of devices.
func New(c Config) (*Authenticator, error) {
	a := &Authenticator{store: c.Store, cas: x509.NewCertPool(), proven: auth.NewKept[proven](maxProven), now: c.Now, logger: c.Logger}
	if a.now == nil {
		a.now = time.Now
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	for _, own := range c.Own {
		a.cas.AddCert(own)
	}
	for _, d := range c.Devices {
		made, err := newDeviceCA(d, c.Own)
		if err != nil {
			return nil, fmt.Errorf("mtls: device CA %.64q: %w", d.Name, err)
		}
		if slices.ContainsFunc(a.devices, func(other *deviceCA) bool { return other.Name == d.Name }) {
			return nil, fmt.Errorf("mtls: device CA %.64q stands twice", d.Name)
		}
		for _, root := range d.Roots {
			a.cas.AddCert(root)
		}
		a.devices = append(a.devices, made)
	}
	return a, nil
}

// lookTimeout bounds the look into the store while a connection is made.
const lookTimeout = 2 * time.Second

// Request makes a listener ask for client certificates, without requiring one. A
// connection with one that proves nobody is refused.
func (a *Authenticator) Request(c *tls.Config) {
	c.ClientAuth, c.ClientCAs = tls.RequestClientCert, a.cas
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout) // the handshake's own is not known here
		defer cancel()
		_, err := a.prove(ctx, state.PeerCertificates)
		if err != nil {
			a.logger.LogAttrs(ctx, slog.LevelDebug, "a client certificate was refused", slog.Any("error", err), slog.Bool("resumed", state.DidResume))
		}
		return err
	}
}

// Authenticate proves the connection's client certificate. A call that shows an
// Authorization, too, means that one: it is ErrNotMine, as is one without a
// certificate.
func (a *Authenticator) Authenticate(ctx context.Context, c auth.Credentials) (identity.Principal, error) {
	if c.TLS == nil || len(c.TLS.PeerCertificates) == 0 || c.Authorization != "" {
		return identity.Principal{}, auth.ErrNotMine
	}
	return a.prove(ctx, c.TLS.PeerCertificates)
}

// Still proves again, without the connection, what a session was opened with: a
// certificate of this CA as it stands now, with its names and grant; of a device
// that its CA is still believed, by the same roots for the same names.
func (a *Authenticator) Still(ctx context.Context, p identity.Principal) (identity.Principal, error) {
	if p.Method == identity.Device {
		return p, a.stillDevice(p)
	}
	row, err := a.store.ByFingerprint(ctx, p.Evidence)
	if errors.Is(err, storage.ErrNotFound) {
		return identity.Principal{}, unknown()
	} else if err != nil {
		return identity.Principal{}, fmt.Errorf("client certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(row.DER)
	if err != nil {
		return identity.Principal{}, unknown()
	}
	return a.own(leaf, row)
}

// stillDevice tells whether the CA of a session's device is configured as it was when
// the session was opened.
func (a *Authenticator) stillDevice(p identity.Principal) error {
	name, _ := p.Claims["ca"].(string)
	at := slices.IndexFunc(a.devices, func(d *deviceCA) bool { return d.Name == name })
	detail := "the CA of devices by which the session was opened is configured no longer"
	if at >= 0 {
		if a.devices[at].basis == p.Basis {
			return nil
		}
		detail = "the roots or names of the CA of devices by which the session was opened have changed"
	}
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: "SESSION_DEVICE_CA", Rule: "session", Detail: detail,
		Help: "log in again: certwright login, with a certificate that is believed now",
	}
}

// prove is the principal of a chain, the leaf first.
func (a *Authenticator) prove(ctx context.Context, chain []*x509.Certificate) (identity.Principal, error) {
	leaf := chain[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	row, err := a.store.ByFingerprint(ctx, fingerprint)
	switch {
	case err == nil:
		return a.own(leaf, row)
	case !errors.Is(err, storage.ErrNotFound):
		return identity.Principal{}, fmt.Errorf("client certificate: %w", err)
	}
	return a.device(chain, fingerprint)
}

// own is the holder of a certificate of this CA.
func (a *Authenticator) own(leaf *x509.Certificate, row storage.Certificate) (identity.Principal, error) {
	now := a.now()
	switch {
	case row.State != storage.Issued || !slices.Equal(row.DER, leaf.Raw):
		return identity.Principal{}, unknown()
	case row.Revocation != nil:
		return identity.Principal{}, refused("CERTIFICATE_REVOKED", "the client certificate is revoked", "have a new one issued")
	case now.After(row.NotAfter):
		return identity.Principal{}, expired()
	case now.Before(row.NotBefore):
		return identity.Principal{}, refused("CERTIFICATE_NOT_YET_VALID", "the client certificate is not valid yet", "check the clocks")
	case row.Intent.Grant == "system":
		return identity.Principal{}, refused("CERTIFICATE_OF_SERVER", "a certificate of the CA's server itself proves nobody", "use a certificate of one's own")
	}
	names := named(row.Names)
	names["grant"], names["profile"], names["owner"] = row.Intent.Grant, row.Intent.Profile, row.Intent.Owner
	names["serial"] = row.Serial.String()
	p := identity.Principal{
		Method: identity.MTLS, ID: hex.EncodeToString(row.Fingerprint[:]), Roles: []identity.Role{identity.RoleHolder},
		Claims: names, Evidence: row.Fingerprint, Until: row.NotAfter,
	}
	// A server's certificate is enough for renewing it, and for nothing else (RFC 5280
	// §4.2.1.12).
	if slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		p.Roles = append(p.Roles, identity.RoleRequester)
	}
	return p, nil
}

// named are names as claims: all of them as "names", those of each type, and the
// first as "name".
func named(ids []identity.Identifier) map[string]any {
	claims := map[string]any{}
	var all []string
	byType := map[string][]string{}
	for _, id := range ids {
		all = append(all, id.Value)
		byType[string(id.Type)] = append(byType[string(id.Type)], id.Value)
	}
	for kind, values := range byType {
		claims[kind] = values
	}
	if len(all) > 0 {
		claims["names"], claims["name"] = all, all[0]
	}
	return claims
}

func unknown() error {
	return refused("CERTIFICATE_UNKNOWN", "the client certificate is neither of this CA nor of one that is believed here",
		"use a certificate that this CA has issued")
}

func expired() error {
	return refused("CERTIFICATE_EXPIRED", "the client certificate has expired", "have a new one issued: a certificate is renewed before it expires")
}

func refused(reason, detail, help string) error {
	return &problem.Problem{Kind: problem.Unauthenticated, Reason: reason, Rule: "client certificate", Detail: detail, Help: help}
}
