package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxPair is the largest file of a certificate or key that is read, in bytes.
const maxPair = 1 << 20

// ErrNotRegular is what is not read, because it is no file.
var ErrNotRegular = errors.New("is not a regular file")

// OpenRegular opens a file to read it, and refuses what is none: a pipe or a device may
// never end, and to open one may last for ever. What is checked is the opened file.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer does not hold it up
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// LoadPair is tls.LoadX509KeyPair of regular files.
func LoadPair(certFile, keyFile string) (tls.Certificate, error) {
	var text [2][]byte
	for i, file := range []string{certFile, keyFile} {
		var err error
		if text[i], err = ReadRegular(file, maxPair); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(text[0], text[1])
}

// ReadRegular reads a regular file of at most so many bytes.
func ReadRegular(file string, most int64) ([]byte, error) {
	f, err := OpenRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is too large: it has more than %d bytes", file, most)
	}
	return text, err
}
