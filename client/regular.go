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
		if text[i], err = readRegular(file); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(text[0], text[1])
}

func readRegular(file string) ([]byte, error) {
	f, err := OpenRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxPair+1))
	if err == nil && len(text) > maxPair {
		err = fmt.Errorf("%s is larger than %d MiB", file, maxPair>>20)
	}
	return text, err
}
