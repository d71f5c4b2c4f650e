package setup

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage/bolt"
)

// load is the configuration of a data folder below dir.
func load(t *testing.T, dir string, dev bool, environ ...string) config.Config {
	t.Helper()
	s, err := config.Load(config.Sources{Dev: dev, Environ: environ, Flags: map[string]string{"data": filepath.Join(dir, "data")}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Config
}

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("%s is no PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// entries are the kinds and the parsed entries of a stopped CA's ledger.
func entries(t *testing.T, data string) []entry.Entry {
	t.Helper()
	store, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(data, "ledger.db"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	raws, err := store.Entries(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var all []entry.Entry
	for _, raw := range raws {
		e, err := entry.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestDev(t *testing.T) {
	c := load(t, t.TempDir(), true)
	c.Listen.HTTPS = "127.0.0.1:1" // of this start only
	if err := Dev(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		config.FileName, "policy.yaml", "root.crt", "root.crl", "ledger.db", "format", "lock",
		"keys/root.key", "keys/issuing.key", "keys/issuing.crt", "keys/checkpoint.key", "keys/server.key",
	} {
		info, err := os.Stat(filepath.Join(c.Data, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, name := range []string{"", "keys"} {
		if info, err := os.Stat(filepath.Join(c.Data, name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder %q: %v, %v", name, info, err)
		}
	}
	root, issuing := readCert(t, filepath.Join(c.Data, "root.crt")), readCert(t, filepath.Join(c.Data, "keys/issuing.crt"))
	if err := issuing.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
	if root.MaxPathLen != 1 || issuing.MaxPathLen != 0 || !issuing.MaxPathLenZero {
		t.Errorf("path lengths %d and %d", root.MaxPathLen, issuing.MaxPathLen)
	}
	if len(issuing.IssuingCertificateURL) != 1 || issuing.IssuingCertificateURL[0] != "http://localhost:8080/ca/root.crt" {
		t.Errorf("AIA %q", issuing.IssuingCertificateURL)
	}
	kinds := entries(t, c.Data)
	if len(kinds) != 3 || kinds[0].Kind != entry.Genesis || kinds[1].Kind != entry.IssuerEvent || kinds[2].Kind != entry.IssuerEvent {
		t.Errorf("entries %+v", kinds)
	}
	// Its configuration file is one that loads, and a second start changes nothing.
	again, err := config.Load(config.Sources{Dev: true, Flags: map[string]string{"data": c.Data}})
	if err != nil || again.File == "" || again.Config.Listen != config.Default().Listen {
		t.Errorf("its own configuration: %+v, %v", again, err)
	}
	if err := Dev(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	if second := readCert(t, filepath.Join(c.Data, "root.crt")); !second.Equal(root) {
		t.Error("the second start made another root")
	}
}

func ceremony(t *testing.T, dir string) Ceremony {
	t.Helper()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Ceremony{
		Config: load(t, dir, false, "CERTWRIGHT_KEYS_PASSPHRASE_FILE="+pass), RootDir: filepath.Join(dir, "offline"),
		HostNames:  []string{"web1.example.com", "ca.internal", "localhost", "127.0.0.1", "10.0.0.1", "not a name", "ca.internal"},
		CommonName: "Example", Organization: "Example Org", Permit: identity.Names{DNS: []string{"internal"}, IP: []string{"10.0.0.0/8"}},
	}
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	c := ceremony(t, dir)
	result, err := Init(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	data := c.Config.Data
	if _, err := os.Stat(filepath.Join(data, datadir.RootKey)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the root's key in the data folder: %v", err)
	}
	for _, path := range []string{result.RootKey, filepath.Join(data, datadir.IssuingKey), filepath.Join(data, "keys/checkpoint.key"), filepath.Join(data, datadir.ServerKey)} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "ENCRYPTED") {
			t.Errorf("%s is not encrypted (%v)", path, err)
		}
	}
	if _, err := keys.Open(t.Context(), keys.Config{URI: "file:" + result.RootKey, Passphrase: c.Config.Passphrase()}); err != nil {
		t.Error(err)
	}
	issuing := readCert(t, filepath.Join(data, datadir.IssuingCRT))
	if len(issuing.PermittedDNSDomains) != 1 || len(issuing.PermittedIPRanges) != 1 || !issuing.PermittedDNSDomainsCritical {
		t.Errorf("name constraints %v %v", issuing.PermittedDNSDomains, issuing.PermittedIPRanges)
	}
	text, err := os.ReadFile(result.RootCRL)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	crl, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || len(crl.RevokedCertificateEntries) != 0 || crl.CheckSignatureFrom(result.Root) != nil || time.Until(crl.NextUpdate) < year {
		t.Errorf("root CRL %+v, %v", crl, err)
	}
	// The ledger commits to the transcript, and the last-seen file is where it belongs.
	transcript, err := os.ReadFile(result.Transcript)
	if err != nil {
		t.Fatal(err)
	}
	all := entries(t, data)
	event, err := entry.ParseIssuerEvent(all[len(all)-1].Draft)
	if err != nil || event.Transcript != sha256.Sum256(transcript) || event.Certificate != sha256.Sum256(issuing.Raw) {
		t.Errorf("event %+v, %v", event, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "certwright-lock", "data")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(data, "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the last-seen file is in the data folder: %v", err)
	}
	s, err := config.Load(config.Sources{Flags: map[string]string{"data": data}})
	if err != nil || s.Config.Keys.PassphraseFile != c.Config.Keys.PassphraseFile {
		t.Fatalf("its own configuration: %v", err)
	}
	// Of the host's names it has those that the name constraints permit.
	if want := []string{"ca.internal", "10.0.0.1"}; !slices.Equal(s.Config.ServerNames, want) {
		t.Errorf("server_names %q, want %q", s.Config.ServerNames, want)
	}
	if err := CheckServerNames(&s.Config); err != nil {
		t.Error(err)
	}
	s.Config.ServerNames = []string{"ca.example.com"}
	if err := CheckServerNames(&s.Config); err == nil || !strings.Contains(err.Error(), "dns:ca.example.com (internal)") {
		t.Errorf("a name that the issuing certificate does not permit: %v", err)
	}
}

// TestTwoCAs: two CAs beside each other do not share a last-seen file.
func TestTwoCAs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		c := ceremony(t, dir)
		s, err := config.Load(config.Sources{
			Environ: []string{"CERTWRIGHT_KEYS_PASSPHRASE_FILE=" + c.Config.Keys.PassphraseFile},
			Flags:   map[string]string{"data": filepath.Join(dir, name)},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Config, c.RootDir = s.Config, filepath.Join(dir, name+"-root")
		if _, err := Init(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "certwright-lock", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, c *Ceremony)
		want   string
	}{
		{"dev", func(_ *testing.T, c *Ceremony) { c.Config.Dev = true }, "leave --dev out"},
		{"no passphrase", func(_ *testing.T, c *Ceremony) { c.Config.Keys.PassphraseFile = "" }, "--passphrase-file"},
		{"no root folder", func(_ *testing.T, c *Ceremony) { c.RootDir = "" }, "--root-dir"},
		{"root folder inside", func(_ *testing.T, c *Ceremony) { c.RootDir = filepath.Join(c.Config.Data, "x") }, "without the root's key"},
		{"issuing outlives", func(_ *testing.T, c *Ceremony) { c.RootValidity, c.IssuingValidity = year, 2*year }, "outlive"},
		{"name of two lines", func(_ *testing.T, c *Ceremony) { c.CommonName = "a\nb" }, "--name \"a\\nb\" has control characters"},
		{"organization", func(_ *testing.T, c *Ceremony) { c.Organization = "a\x7f" }, "--organization"},
		{"algorithm", func(_ *testing.T, c *Ceremony) { c.RootAlgorithm = "dsa" }, "algorithm"},
		{"root key there", func(t *testing.T, c *Ceremony) {
			if err := os.MkdirAll(c.RootDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(c.RootDir, "root.key"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "never overwritten"},
		{"lock there", func(t *testing.T, c *Ceremony) {
			lock := c.Config.Path(c.Config.Ledger.Lock)
			if err := errors.Join(os.MkdirAll(filepath.Dir(lock), 0o700), os.WriteFile(lock, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "if that CA is gone for good, such as one of a trial, remove the file"},
		{"short passphrase", func(t *testing.T, c *Ceremony) {
			if err := os.WriteFile(c.Config.Keys.PassphraseFile, []byte("eleven byte\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "has 11 bytes"},
		{"names of the host", func(_ *testing.T, c *Ceremony) { c.HostNames = []string{"localhost", "127.0.0.1"} },
			"permit none of this host's names (localhost, 127.0.0.1): name the server with --server-name, such as --server-name ca.internal"},
		{"names given", func(_ *testing.T, c *Ceremony) { c.HostNames = nil }, "do not let the CA sign the server's own name dns:localhost (internal)"},
		{"excluded", func(_ *testing.T, c *Ceremony) {
			c.HostNames, c.Config.ServerNames, c.Exclude.DNS = nil, []string{"ca.internal"}, []string{"internal"}
		}, "none of: internal"},
		{"address range", func(_ *testing.T, c *Ceremony) { c.Permit.IP = []string{"10.0.0.0"} }, "--permit-ip \"10.0.0.0\" is not a range"},
		{"domain", func(_ *testing.T, c *Ceremony) { c.Exclude.DNS = []string{"*.x"} }, "--exclude-dns \"*.x\" is not a domain"},
		{"passphrase readable", func(t *testing.T, c *Ceremony) {
			if err := os.Chmod(c.Config.Keys.PassphraseFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600"},
		{"twice", func(t *testing.T, c *Ceremony) {
			if _, err := Init(t.Context(), *c); err != nil {
				t.Fatal(err)
			}
		}, "there is a CA already in "},
		{"twice, elsewhere", func(t *testing.T, c *Ceremony) {
			if _, err := Init(t.Context(), *c); err != nil {
				t.Fatal(err)
			}
			c.RootDir += "2"
		}, "there is a CA already in "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := ceremony(t, t.TempDir())
			test.change(t, &c)
			_, err := Init(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line with %q", err, test.want)
			}
			if left, err := os.ReadDir(c.RootDir); err == nil && len(left) == 0 {
				t.Errorf("an empty folder %s is left behind", c.RootDir)
			}
		})
	}
}

// TestInitStartsOver: a ceremony that failed half-way leaves nothing that stops the
// next one.
func TestInitStartsOver(t *testing.T) {
	c := ceremony(t, t.TempDir())
	c.Permit.IP = []string{"nonsense"}
	if _, err := Init(t.Context(), c); err == nil {
		t.Fatal("no error")
	}
	c.Permit.IP = nil
	if _, err := Init(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// TestKilledInit: a ceremony that was killed with all made and not all in place is
// finished by the next, with the same root.
func TestKilledInit(t *testing.T) {
	for _, test := range []struct {
		name string
		back func(t *testing.T, data string)
	}{
		{"before the last-seen file was moved", func(*testing.T, string) {}},
		{"before the folder was moved up", func(t *testing.T, data string) {
			temp := filepath.Join(data, ".new")
			if err := os.Mkdir(temp, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"format", "keys", "ledger.db", "lock"} {
				if err := os.Rename(filepath.Join(data, name), filepath.Join(temp, name)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := ceremony(t, t.TempDir())
			first, err := Init(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(c.Config.Path(c.Config.Ledger.Lock), c.Config.Path("lock")); err != nil {
				t.Fatal(err)
			}
			test.back(t, c.Config.Data)
			again, err := Init(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Root.Equal(first.Root) {
				t.Error("another root")
			}
			if _, err := os.Stat(c.Config.Path(c.Config.Ledger.Lock)); err != nil {
				t.Error(err)
			}
		})
	}
}
