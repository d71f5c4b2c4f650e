package setup

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
)

// Ceremony is what "certwright init" asks for. Empty fields have defaults.
type Ceremony struct {
	// Config is the configuration of the server to be; it is written into the data
	// folder. Its keys section must name a passphrase.
	Config config.Config
	// HostNames are what this host is called. If there are any, the server gets
	// those of them that the name constraints permit, in place of those of Config.
	HostNames []string
	// RootDir is the folder for the root's key, outside the data folder; it is made
	// if it is not there. To be taken offline afterwards.
	RootDir string
	// CommonName of the CAs, followed by "Root CA" and "Issuing CA". Empty:
	// Certwright.
	CommonName   string
	Organization string // optional
	// RootAlgorithm (ecdsa-p384) and IssuingAlgorithm (ecdsa-p256) are names of
	// package keys.
	RootAlgorithm, IssuingAlgorithm string
	// RootValidity (20 years) and IssuingValidity (5 years).
	RootValidity, IssuingValidity time.Duration
	// CRLValidity of the root's empty CRL; empty: as long as the issuing CA.
	CRLValidity time.Duration
	// Permit and Exclude are the issuing CA's name constraints.
	Permit, Exclude identity.Names
	// Actor is who holds the ceremony, for the ledger. Empty: local_socket:admin.
	Actor string
	Now   time.Time // zero: the clock's
}

// Result is what a ceremony has made.
type Result struct {
	Root, Issuing *x509.Certificate
	RootKey       string // path
	RootCert      string // path in the data folder
	RootCRL       string // path in the data folder
	Config        string // path
	Policy        string // path
	Transcript    string // path
}

func (c *Ceremony) complete() {
	text := func(s *string, standard string) {
		if *s == "" {
			*s = standard
		}
	}
	span := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	text(&c.CommonName, "Certwright")
	text(&c.RootAlgorithm, keys.ECDSAP384)
	text(&c.IssuingAlgorithm, keys.ECDSAP256)
	text(&c.Actor, identity.Principal{Method: identity.LocalSocket, ID: "admin"}.String())
	span(&c.RootValidity, 20*year)
	span(&c.IssuingValidity, 5*year)
	span(&c.CRLValidity, c.IssuingValidity)
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
}

func (c *Ceremony) rootKey() string { return filepath.Join(c.RootDir, "root.key") }

// interrupted tells whether an earlier ceremony for this folder has made
// everything and was killed before all was in its place: this one finishes it.
func (c *Ceremony) interrupted() bool {
	if c.RootDir == "" || !there(c.rootKey()) {
		return false
	}
	format, err := datadir.Read(c.Config.Data)
	made := err == nil && format.Mode == datadir.Production && there(c.Config.Path(lockFile)) && !there(c.Config.Path(c.Config.Ledger.Lock))
	return made || datadir.Built(c.Config.Data)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Init makes a CA for production: keys encrypted, the root's in RootDir, and a
// data folder without it. Nothing that is there is overwritten; a ceremony that
// was killed can be repeated.
func Init(ctx context.Context, c Ceremony) (Result, error) {
	c.complete()
	if err := c.check(); err != nil {
		return Result{}, err
	}
	rootDir, err := filepath.Abs(c.RootDir)
	if err != nil {
		return Result{}, err
	}
	c.RootDir = rootDir
	goesOn := c.interrupted()
	unmake, err := datadir.MakeFolder(rootDir)
	if err != nil {
		return Result{}, fmt.Errorf("--root-dir: %w", err)
	}
	a := &authority{
		config: &c.Config, urls: rootURLs(&c.Config), now: c.Now, actor: c.Actor, passphrase: c.Config.Passphrase(), rootURI: "file:" + c.rootKey(),
		rootAlg: c.RootAlgorithm, issuingAlg: c.IssuingAlgorithm, commonName: c.CommonName, organization: c.Organization,
		rootLife: c.RootValidity, issuingLife: c.IssuingValidity, crlLife: c.CRLValidity, permit: c.Permit, exclude: c.Exclude,
		ceremony: &c,
	}
	err = datadir.Create(ctx, c.Config.Data, datadir.NewFormat(datadir.Production), a.build)
	switch {
	case goesOn && errors.Is(err, fs.ErrExist): // only the last-seen file is not in its place
	case err != nil && !goesOn && there(c.rootKey()):
		// The key of a root that nobody has seen; left there it would stop the next try.
		err = errors.Join(err, os.Remove(c.rootKey()))
		unmake()
		return Result{}, err
	case err != nil:
		unmake()
		return Result{}, err
	}
	if err := c.moveLock(); err != nil {
		return Result{}, err
	}
	return c.result()
}

// result reads what the ceremony has made, and puts a copy of the root's
// certificate beside its key.
func (c *Ceremony) result() (Result, error) {
	data := c.Config.Data
	r := Result{
		RootKey: c.rootKey(), RootCert: filepath.Join(data, datadir.RootCert),
		RootCRL: filepath.Join(data, datadir.RootCRL), Config: filepath.Join(data, config.FileName),
		Policy: c.Config.Path(c.Config.Policy), Transcript: filepath.Join(data, datadir.Transcript),
	}
	var err error
	if r.Root, err = readCertificate(r.RootCert); err != nil {
		return Result{}, err
	}
	if r.Issuing, err = readCertificate(filepath.Join(data, datadir.IssuingCRT)); err != nil {
		return Result{}, err
	}
	err = datadir.WriteFile(filepath.Join(c.RootDir, datadir.RootCert), PEM(r.Root))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Result{}, err
	}
	return r, nil
}

// maxCertificate is more than the files of a ceremony need, in bytes.
const maxCertificate = 1 << 20

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := plainfile.Read(path, maxCertificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// moveLock takes the last-seen file out of the data folder to its place.
func (c *Ceremony) moveLock() error {
	from, to := c.Config.Path(lockFile), c.Config.Path(c.Config.Ledger.Lock)
	data, err := plainfile.Read(from, maxCertificate)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("ledger.lock: %w", err)
	}
	if err := datadir.WriteFile(to, data); err != nil {
		return fmt.Errorf("ledger.lock: %w", err)
	}
	return os.Remove(from)
}

// record is the transcript of the ceremony: what was made, for those who were
// there and for the ledger, which holds its SHA-256.
func (c *Ceremony) record(root, issuing *x509.Certificate) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Certwright key ceremony\ntime: %s\nactor: %s\nledger origin: %s\n",
		c.Now.UTC().Format(time.RFC3339), c.Actor, c.Config.Ledger.Origin)
	for _, each := range []struct {
		name string
		cert *x509.Certificate
	}{{"root", root}, {"issuing CA", issuing}} {
		fmt.Fprintf(&b, "\n%s\nsubject: %s\nserial: %032x\nkey: %s\nvalid: %s to %s\ncertificate %s\npublic key sha256:%x\n",
			each.name, each.cert.Subject, each.cert.SerialNumber, keys.Algorithm(each.cert.PublicKey),
			each.cert.NotBefore.Format(time.RFC3339), each.cert.NotAfter.Format(time.RFC3339),
			Fingerprint(each.cert), keyID(each.cert))
	}
	for _, each := range []struct {
		name  string
		names identity.Names
	}{{"permitted", c.Permit}, {"excluded", c.Exclude}} {
		if !each.names.Empty() {
			fmt.Fprintf(&b, "\n%s names: dns %v, ip %v, uri %v, email %v\n",
				each.name, each.names.DNS, each.names.IP, each.names.URI, each.names.Email)
		}
	}
	return b.Bytes()
}
