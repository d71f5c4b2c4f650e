package client

import (
	"crypto/tls"

	"github.com/certwright/certwright/plainfile"
)

// maxPair is the largest file of a certificate or key that is read, in bytes.
const maxPair = 1 << 20

// LoadPair is tls.LoadX509KeyPair of regular files.
func LoadPair(certFile, keyFile string) (tls.Certificate, error) {
	var text [2][]byte
	for i, file := range []string{certFile, keyFile} {
		var err error
		if text[i], err = plainfile.Read(file, maxPair); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(text[0], text[1])
}
