package book

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Shown is a certificate that somebody has shown: it must be in the book.
type Shown struct {
	Where       string // a file, an address
	Certificate *x509.Certificate
}

// The bounds of what is read of a folder of certificates.
const (
	maxCertificateFile = 1 << 20
	maxShown           = 1_000_000
)

// ReadShown reads the certificates in a file or in all files of a folder, PEM or DER.
// A file without any is passed over; one that has a block which is no certificate is
// reported.
func ReadShown(ctx context.Context, path string, report Report) ([]Shown, error) {
	var all []Shown
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() && name != path {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := os.Open(name) //nolint:gosec // the auditor's own folder; what is no certificate is passed over
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // only read
		data, err := readAtMost(file, name, maxCertificateFile)
		if err != nil {
			report.of(KindUnread, name, "%v", err)
			return nil
		}
		all = append(all, certificatesIn(name, data, report)...)
		if len(all) > maxShown {
			return fmt.Errorf("%s has more than %d certificates: give it in parts", path, maxShown)
		}
		return nil
	})
	return all, err
}

// certificatesIn reads the certificates of one file.
func certificatesIn(name string, data []byte, report Report) []Shown {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		if cert, err := x509.ParseCertificate(data); err == nil {
			return []Shown{{name, cert}}
		}
		return nil // it is something else: a key, a note, a list
	}
	var all []Shown
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			report.of(KindUnread, name, "a certificate cannot be read: %v", err)
			continue
		}
		all = append(all, Shown{name, cert})
	}
}

// Ours tells those of the shown certificates that one of the issuers has signed, or
// that are an issuer's own. What anybody can make up is no evidence against the CA.
func Ours(shown []Shown, issuers []*x509.Certificate) (ours []Shown, others int) {
	for _, s := range shown {
		signed := false
		for _, issuer := range issuers {
			signed = signed || bytes.Equal(s.Certificate.RawIssuer, issuer.RawSubject) &&
				issuer.CheckSignature(s.Certificate.SignatureAlgorithm, s.Certificate.RawTBSCertificate, s.Certificate.Signature) == nil
		}
		if signed {
			ours = append(ours, s)
		} else {
			others++
		}
	}
	return ours, others
}

// Lookup reports those of the shown certificates that are not in the book with the
// same TBSCertificate. A CA's certificate is in it by its hash in the genesis or in
// an issuer event.
func (f *Follower) Lookup(shown []Shown) error {
	missing, err := f.Missing(shown)
	if err != nil {
		return err
	}
	serials := map[[16]byte][]Shown{}
	for _, s := range missing {
		if key, ok := serialKey(s.Certificate.SerialNumber); ok {
			serials[key] = append(serials[key], s)
		}
	}
	other := map[*x509.Certificate]intent{}
	if len(serials) > 0 {
		err = f.intents.each(func(i intent) {
			for _, s := range serials[i.serial] {
				other[s.Certificate] = i
			}
		})
	}
	for _, s := range missing {
		hash := sha256.Sum256(s.Certificate.Raw)
		if i, ok := other[s.Certificate]; ok && i.serial != ([16]byte{}) {
			f.report.at(KindOtherTBS, i.index, s.Where, "the certificate %x of the serial %x is not what was recorded under this serial", hash[:8], s.Certificate.SerialNumber)
			continue
		}
		f.report.of(KindUnlogged, s.Where, "the certificate %x of the serial %x, subject %.128q, from %s, is not in the book of %d entries",
			hash[:8], s.Certificate.SerialNumber, s.Certificate.Subject, stamp(s.Certificate.NotBefore), f.state.edge.Size())
	}
	return err
}

// Missing are those of the shown certificates that are not in the book, each once.
func (f *Follower) Missing(shown []Shown) ([]Shown, error) {
	wanted := map[[32]byte][]int{}
	found := make([]bool, len(shown))
	lost := map[int]intent{}
	seen := map[[32]byte]bool{}
	for n, s := range shown {
		whole := sha256.Sum256(s.Certificate.Raw)
		if found[n] = seen[whole] || has(f.state.Certificates, whole); !found[n] {
			tbs := sha256.Sum256(s.Certificate.RawTBSCertificate)
			wanted[tbs] = append(wanted[tbs], n)
		}
		seen[whole] = true
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	err := f.intents.each(func(i intent) {
		for _, n := range wanted[i.tbs] {
			found[n] = true
			if lost[n] = i; !f.lost(i) {
				delete(lost, n)
			}
		}
	})
	var missing []Shown
	for n, s := range shown {
		if !found[n] {
			missing = append(missing, s)
		}
		if i, ok := lost[n]; ok && f.config.Notice != nil {
			f.config.Notice(Notice{Subject: s.Where, Detail: fmt.Sprintf("the certificate of the serial %x is in the book of epoch %d, at entry %d, which is lost to the ledger",
				s.Certificate.SerialNumber, i.epoch, i.index)})
		}
	}
	return missing, err
}

// lost tells whether an intent is among the entries that the ledger has lost.
func (f *Follower) lost(i intent) bool {
	return i.index >= f.state.edge.Size() || uint64(i.epoch) != f.state.epochAt(i.index)
}
