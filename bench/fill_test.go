package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/tally"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage/bolt"
)

// filler issues by the one door over the data folder of a server that is not running,
// as fast as the machine can: with the folder's issuer, policy and count of signatures.
type filler struct {
	*ca.Authority
	tb    testing.TB
	store *bolt.Store
	tally *tally.Tally
	next  atomic.Int64 // numbers the names
}

func newFiller(tb testing.TB, data string) *filler {
	tb.Helper()
	ctx := tb.Context()
	format, err := datadir.Read(data)
	check(tb, err)
	store, err := bolt.Open(ctx, bolt.Config{Path: filepath.Join(data, "ledger.db")})
	check(tb, err)
	text, err := os.ReadFile(filepath.Join(data, "keys", "issuing.crt"))
	check(tb, err)
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	check(tb, err)
	signer, err := keys.Open(ctx, keys.Config{URI: "file:keys/issuing.key", Dir: data})
	check(tb, err)
	server, err := keys.Open(ctx, keys.Config{URI: "file:" + datadir.ServerKey, Dir: data})
	check(tb, err)
	id, err := identity.KeyIDOf(cert.PublicKey)
	check(tb, err)
	policies, err := ca.OpenPolicies(ctx, ca.PoliciesConfig{
		Store: store, Issuers: []policy.Issuer{{Name: "issuing", KeyID: id, NotAfter: cert.NotAfter, Certificate: cert}},
		System: policy.System{Names: []identity.Identifier{{Type: identity.DNS, Value: "localhost"}}, Profile: "server"}, ServerKey: server.Public(),
	})
	check(tb, err)
	f := &filler{tb: tb, store: store}
	f.Authority, err = ca.New(ca.Config{
		Store: store, Policy: policies.Engine, InForce: policies.InForce, Server: format.Server, HTTPBase: "http://localhost",
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: cert, Signer: signer}}, ServerKey: server.Public(),
	})
	check(tb, err)
	f.tally, err = tally.Open(ctx, tally.Config{Store: store, Signatures: f.CertificateSignatures})
	check(tb, err)
	return f
}

// close ends the count of signatures as a server does, and the store.
func (f *filler) close() {
	f.tb.Helper()
	ctx, cancel := context.WithCancel(f.tb.Context())
	cancel()
	if err := f.tally.Run(ctx); !errors.Is(err, context.Canceled) {
		check(f.tb, err)
	}
	check(f.tb, f.store.Close())
}

// issue has one certificate issued, for a name that is new.
func (f *filler) issue(key crypto.PublicKey) error {
	_, err := f.Issue(f.tb.Context(), identity.Request{
		Kind: identity.X509, Profile: "server", PublicKey: key, Validity: 48 * time.Hour,
		Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin"},
		Identifiers: []identity.Identifier{{Type: identity.DNS, Value: fmt.Sprintf("growth-%d.internal", f.next.Add(1))}},
	}, ca.Attach{})
	return err
}

// fill issues n certificates, each for a key of its own, with many in flight.
func (f *filler) fill(n int) {
	f.tb.Helper()
	if failed := inFlight(f.tb, 128, n, func(_, _ int) error { return f.issue(newKey(f.tb)) }); failed > 0 {
		f.tb.Fatalf("%d of %d failed", failed, n)
	}
}

func newKey(tb testing.TB) crypto.PublicKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Error(err)
		return nil
	}
	return key.Public()
}

// newPublicKeys are made before what is measured begins.
func newPublicKeys(tb testing.TB, n int) []crypto.PublicKey {
	out := make([]crypto.PublicKey, n)
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() { out[i] = newKey(tb) })
	}
	all.Wait()
	return out
}
