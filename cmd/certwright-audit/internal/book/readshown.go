package book

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
	"slices"
	"strings"

	"github.com/certwright/certwright/plainfile"
)

// The bounds of what is read of a folder of certificates.
const (
	maxCertificateFile = 1 << 20
	maxShown           = 1_000_000
)

// extensions are those of files in which a certificate is expected.
var extensions = []string{".crt", ".cer", ".pem", ".der"}

// ReadShown reads the certificates in a file or in all files of a folder, PEM or DER.
// Links to files are followed, those to folders are not. In a folder a file without
// any certificate is passed over, unless its name says that it has one. What should
// have been read and was not is reported.
func ReadShown(ctx context.Context, path string, report Report) ([]Shown, error) {
	var all []Shown
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		named := name == path
		if err != nil && !named {
			report.of(KindUnread, name, "%v", err)
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		found, err := readOne(name, named, report)
		all = append(all, found...)
		if err != nil {
			return err
		}
		if len(all) > maxShown {
			return fmt.Errorf("%s has more than %d certificates: give it in parts", path, maxShown)
		}
		return nil
	})
	return all, err
}

// readOne reads one file of a folder, or the one that was named.
func readOne(name string, named bool, report Report) ([]Shown, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir() && named:
		return nil, fmt.Errorf("%s is a link to a folder: name the folder itself", name)
	case err == nil && !info.Mode().IsRegular() && !named:
		return nil, nil
	}
	expected := named || slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
	var data []byte
	if err == nil {
		data, err = plainfile.Read(name, maxCertificateFile)
	}
	if err != nil {
		if expected || !errors.Is(err, fs.ErrNotExist) { // a file may go while the folder is read
			report.of(KindUnread, name, "%v", err)
		}
		return nil, nil
	}
	return certificatesIn(name, data, named, expected, report), nil
}

// certificatesIn reads the certificates of one file. A file that was named must have
// one; one that is expected to must have one, or something else in PEM, such as a key.
func certificatesIn(name string, data []byte, named, expected bool, report Report) []Shown {
	begins := bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----"))
	if begins == 0 {
		if cert, err := x509.ParseCertificate(data); err == nil {
			return []Shown{{name, cert}}
		}
		if block, _ := pem.Decode(data); named || expected && block == nil {
			report.of(KindUnread, name, "it holds no certificate, neither PEM nor DER")
		}
		return nil
	}
	var all []Shown
	blocks := 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		blocks++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			report.of(KindUnread, name, "a certificate cannot be read: %v", err)
			continue
		}
		all = append(all, Shown{name, cert})
	}
	if blocks < begins {
		report.of(KindUnread, name, "%d of its %d certificates are no PEM: cut off, or damaged", begins-blocks, begins)
	}
	return all
}
