package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/storagetest"
)

// shortLived is an authority whose certificates last an hour, and that can fail.
type shortLived struct {
	key    *ecdsa.PrivateKey
	issued atomic.Int64
	broken atomic.Bool
}

func (s *shortLived) Issue(_ context.Context, req identity.Request, _ ca.Attach) (ca.Issued, error) {
	if s.broken.Load() {
		return ca.Issued{}, errors.New("no")
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(s.issued.Add(1)), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{{127, 0, 0, 1}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, req.PublicKey, s.key)
	return ca.Issued{Certificate: storage.Certificate{DER: der}}, err
}

func TestOwnCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		authority := &shortLived{key: key}
		own := &ownCertificate{issuer: authority, signer: key, now: time.Now, logger: slog.New(slog.DiscardHandler), renewed: make(chan struct{}, 1)}
		if err := own.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- own.run(ctx) }()
		began := time.Now()
		<-own.renewed
		if after := time.Since(began); after != 40*time.Minute {
			t.Errorf("renewed after %v, want two thirds of an hour", after)
		}
		if serial := own.current.Load().Leaf.SerialNumber.Int64(); serial != 2 {
			t.Errorf("certificate %d is in place", serial)
		}
		// A failure is tried again, long before the certificate expires.
		authority.broken.Store(true)
		time.AfterFunc(50*time.Minute, func() { authority.broken.Store(false) })
		<-own.renewed
		if leaf := own.current.Load().Leaf; leaf.SerialNumber.Int64() != 3 || time.Since(began) > 92*time.Minute {
			t.Errorf("certificate %v after %v", leaf.SerialNumber, time.Since(began))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestOwnCertificateAtStart: what is good is used again, what is due is renewed, and
// where that fails, what is there serves on.
func TestOwnCertificateAtStart(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name      string
		age, life time.Duration // of the certificate that is there; no life: there is none
		broken    bool
		issues    int64
		fails     bool
	}{
		{"none", 0, 0, false, 1, false},
		{"none, and none can be issued", 0, 0, true, 0, true},
		{"young", 10 * day, 90 * day, true, 0, false},
		{"due", 70 * day, 90 * day, false, 1, false},
		{"due, and none can be issued", 70 * day, 90 * day, true, 0, false},
		{"expired, and none can be issued", 100 * day, 90 * day, true, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := bolt.Create(path); err != nil {
				t.Fatal(err)
			}
			store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			issuer, authority := storagetest.NewIssuer(t), &shortLived{key: key}
			if test.life > 0 {
				begin := time.Now().Add(-test.age)
				i := issuer.Issue(t, storagetest.Spec{Key: key, Names: storagetest.DNS("ca.internal"), NotBefore: begin, NotAfter: begin.Add(test.life)})
				for _, command := range []storage.Command{i.Reserve, i.Complete} {
					if _, err := store.Commit(t.Context(), storage.Unit{command}); err != nil {
						t.Fatal(err)
					}
				}
			}
			authority.broken.Store(test.broken)
			own := &ownCertificate{
				issuer: authority, store: store, signer: key, now: time.Now, logger: slog.New(slog.DiscardHandler),
				names: storagetest.DNS("ca.internal"), chains: map[identity.KeyID][][]byte{issuer.ID: nil},
			}
			if err := own.start(t.Context()); (err != nil) != test.fails {
				t.Errorf("start: %v", err)
			}
			if (own.current.Load() != nil) == test.fails || authority.issued.Load() != test.issues {
				t.Errorf("%d issued, %v in use", authority.issued.Load(), own.current.Load())
			}
		})
	}
}
