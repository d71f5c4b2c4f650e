package book

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// Shown is a certificate that somebody has shown: it must be in the book.
type Shown struct {
	Where       string // a file, an address
	Certificate *x509.Certificate
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
			f.report.at(KindOtherTBS, i.index, s.Where, "the certificate %x of the serial %032x is not what was recorded under this serial", hash[:8], s.Certificate.SerialNumber)
			continue
		}
		f.report.of(KindUnlogged, s.Where, "the certificate %x of the serial %032x, subject %.128q, from %s, is not in the book of %d entries",
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
			f.config.Notice(Notice{Subject: s.Where, Detail: fmt.Sprintf("the certificate of the serial %032x is in the book of epoch %d, at entry %d, which is lost to the ledger",
				s.Certificate.SerialNumber, i.epoch, i.index)})
		}
	}
	return missing, err
}

// lost tells whether an intent is among the entries that the ledger has lost.
func (f *Follower) lost(i intent) bool {
	return i.index >= f.state.edge.Size() || uint64(i.epoch) != f.state.epochAt(i.index)
}
