package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/lego"
	legolog "github.com/go-acme/lego/v4/log"
	"github.com/go-acme/lego/v4/registration"
)

// user is lego's registration.User.
type user struct {
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (u *user) GetEmail() string                        { return "ops@team-web.internal" }
func (u *user) GetPrivateKey() crypto.PrivateKey        { return u.key }
func (u *user) GetRegistration() *registration.Resource { return u.registration }

// acme gets a certificate for this machine's loopback address over ACME, by
// lego's library with http-01, for an account that is bound to team-web.
func (s *stage) acme() error {
	legolog.Logger = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	if _, err := s.run(0, "eab", "create", "--owner", "team-web", "--profile", "server", "--ip", "127.0.0.1", "--out", "web.eab"); err != nil {
		return err
	}
	binding, err := os.ReadFile(filepath.Join(s.dir, "web.eab"))
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(binding)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		settings[name] = value
	}
	client, u, err := s.acmeClient()
	if err != nil {
		return err
	}
	show("an ACME client (lego) registers at https://" + s.https + "/acme/directory with that key, and orders 127.0.0.1")
	u.registration, err = client.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{
		TermsOfServiceAgreed: true, Kid: settings["EAB_KID"], HmacEncoded: settings["EAB_HMAC_KEY"],
	})
	if err != nil {
		return err
	}
	got, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"127.0.0.1"}, Bundle: true})
	if err != nil {
		return err
	}
	if err := s.verifies("127.0.0.1", got.Certificate, got.IssuerCertificate); err != nil {
		return err
	}
	block, _ := pem.Decode(got.Certificate)
	if block == nil {
		return errors.New("the certificate is not PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if _, err := s.run(0, "account", "list"); err != nil {
		return err
	}
	_, err = s.run(0, "cert", "explain", fmt.Sprintf("%032x", leaf.SerialNumber))
	return err
}

// acmeClient is lego with a new key, which answers http-01 where the server looks.
func (s *stage) acmeClient() (*lego.Client, *user, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	roots, err := s.roots()
	if err != nil {
		return nil, nil, err
	}
	host, port, err := net.SplitHostPort(s.challenge)
	if err != nil {
		return nil, nil, err
	}
	u := &user{key: key}
	config := lego.NewConfig(u)
	config.CADirURL, config.Certificate.KeyType = "https://"+s.https+"/acme/directory", certcrypto.EC256
	config.HTTPClient = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}},
	}
	client, err := lego.NewClient(config)
	if err != nil {
		return nil, nil, err
	}
	return client, u, client.Challenge.SetHTTP01Provider(http01.NewProviderServer(host, port))
}
