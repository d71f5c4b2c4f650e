package keys

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/softkms"
	"go.step.sm/crypto/pemutil"

	"github.com/certwright/certwright/plainfile"
)

// maxFile is more than any private key in PEM needs, in octets.
const maxFile = 64 << 10

func openFile(ctx context.Context, path string, passphrase func() ([]byte, error)) (crypto.Signer, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || len(rest) > 0 && hasBlock(rest) {
		return nil, fmt.Errorf("%s is not one private key in PEM", path)
	}
	encrypted := block.Type == "ENCRYPTED PRIVATE KEY"
	req := &apiv1.CreateSignerRequest{SigningKeyPEM: data}
	switch {
	case encrypted && passphrase == nil:
		return nil, fmt.Errorf("%s is encrypted: configure its passphrase", path)
	case !encrypted && passphrase != nil:
		return nil, fmt.Errorf("%s is not encrypted although a passphrase is configured: encrypt it (openssl pkcs8 -topk8 -v2 aes-256-cbc)", path)
	case encrypted:
		if req.Password, err = secret(passphrase); err != nil {
			return nil, err
		}
	}
	manager, err := softkms.New(ctx, apiv1.Options{})
	if err != nil {
		return nil, err
	}
	signer, err := manager.CreateSigner(req)
	if err != nil && encrypted {
		return nil, fmt.Errorf("%s cannot be decrypted: the passphrase is wrong or the file is damaged", path)
	}
	return signer, err
}

func hasBlock(rest []byte) bool {
	block, _ := pem.Decode(rest)
	return block != nil
}

func secret(passphrase func() ([]byte, error)) ([]byte, error) {
	p, err := passphrase()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(p) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	return p, nil
}

// readPrivate reads a file that only its owner can read. What is checked is the
// opened file, not its name.
func readPrivate(path string) ([]byte, error) {
	f, err := plainfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %#o): chmod 600 %s", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is too long for a private key", path)
	}
	return data, nil
}

// writeFile writes the key under a temporary name, makes it durable and links
// it to its own name, which fails if that is taken.
func writeFile(path string, key crypto.Signer, passphrase func() ([]byte, error)) (err error) {
	opts := []pemutil.Options{pemutil.WithPKCS8(true)}
	if passphrase != nil {
		p, err := secret(passphrase)
		if err != nil {
			return err
		}
		opts = append(opts, pemutil.WithPassword(p))
	}
	block, err := pemutil.Serialize(key, opts...)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := pem.Encode(f, block); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("not written: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
