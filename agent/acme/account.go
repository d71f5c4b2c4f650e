package acme

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/registration"

	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/plainfile"
)

// maxEAB is the largest file of an EAB key that is read, in bytes.
const maxEAB = 4096

// account is the account at one directory: lego's registration.User.
type account struct {
	Directory    string                 `json:"directory"`
	Key          string                 `json:"key"` // PKCS#8, PEM
	Registration *registration.Resource `json:"registration,omitempty"`

	email string
	key   crypto.Signer
	file  string
}

// GetEmail implements registration.User.
func (a *account) GetEmail() string { return a.email }

// GetRegistration implements registration.User.
func (a *account) GetRegistration() *registration.Resource { return a.Registration }

// GetPrivateKey implements registration.User.
func (a *account) GetPrivateKey() crypto.PrivateKey { return a.key }

// account reads the account, or makes its key. The key is on disk before the server
// hears of it.
func (s *Source) account(ctx context.Context) (*account, error) {
	sum := sha256.Sum256([]byte(s.Config.Directory))
	a := &account{email: s.Config.Email, file: filepath.Join(s.State, hex.EncodeToString(sum[:8])+".json")}
	found, err := folder.ReadSecretJSON(a.file, a)
	if err != nil {
		return nil, fmt.Errorf("ACME account: %w", err)
	}
	if found {
		if a.key, err = folder.ParseKey([]byte(a.Key)); err != nil {
			return nil, fmt.Errorf("ACME account: %s: %w", a.file, err)
		}
		return a, nil
	}
	if a.key, err = client.NewKey(""); err != nil {
		return nil, err
	}
	text, err := client.EncodeKey(a.key)
	if err != nil {
		return nil, err
	}
	a.Key, a.Directory = string(text), s.Config.Directory
	return a, a.save()
}

func (a *account) save() error { return folder.WriteJSON(a.file, a, 0o600) }

// register makes the account at the server. If it is there already, the server
// answers with it.
func (s *Source) register(c *lego.Client, a *account) error {
	var err error
	if s.Config.EABKeyID != "" {
		var key string
		if key, err = readEAB(s.Config.EABKeyFile); err != nil {
			return fmt.Errorf("acme.eab_key_file: %w", err)
		}
		a.Registration, err = c.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{
			TermsOfServiceAgreed: s.Config.AgreeTerms, Kid: s.Config.EABKeyID, HmacEncoded: key,
		})
	} else {
		a.Registration, err = c.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: s.Config.AgreeTerms})
	}
	if err != nil {
		return failure(fmt.Errorf("ACME account: %w", err))
	}
	s.Logger.Info("there is an ACME account", slog.String("url", a.Registration.URI))
	return a.save()
}

func readEAB(file string) (string, error) {
	text, err := plainfile.Read(file, maxEAB)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(strings.TrimSpace(string(text)), "="), nil
}
