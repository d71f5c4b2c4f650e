package client

import (
	"crypto/tls"
	"os"

	"github.com/certwright/certwright/plainfile"
)

// maxPair is the largest file of a certificate or key that is read, in bytes.
const maxPair = 1 << 20

// ErrNotRegular is what is not read, because it is no file.
var ErrNotRegular = plainfile.ErrNotRegular

// OpenRegular opens a file to read it, and refuses what is none: a pipe or a device may
// never end, and to open one may last for ever.
func OpenRegular(path string) (*os.File, error) { return plainfile.Open(path) }

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
