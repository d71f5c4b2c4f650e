package main

import (
	"crypto/x509"

	"github.com/cloudflare/cfssl/helpers"
)

// readCertificates reads the certificates of a file: PEM, DER or PKCS#7. There is
// at least one, the first being the one that the file is about.
func (a *app) readCertificates(name string) ([]*x509.Certificate, error) {
	text, err := a.readInput(name)
	if err != nil {
		return nil, err
	}
	certificates, err := helpers.ParseCertificatesPEM(text)
	if err != nil || len(certificates) == 0 {
		certificates, err = x509.ParseCertificates(text)
	}
	if err != nil || len(certificates) == 0 {
		return nil, failf(exitFailure, "%s holds no certificate that can be read, neither in PEM nor in DER", name)
	}
	return certificates, nil
}
