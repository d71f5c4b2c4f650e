package folder

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/client/steady"
)

// maxChain is how many certificates a chain may have.
const maxChain = 10

// Held is a certificate with its private key.
type Held struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // its own first, then those of its issuers, without the root
	// Adopted: others made the key, and it is used for no other certificate.
	Adopted bool
}

// adopted begins the agent's own copy of a certificate with such a key.
const adopted = "The key was not made by the agent.\n"

// ID is the SHA-256 of the certificate's DER, as the API names it.
func (h *Held) ID() string {
	sum := sha256.Sum256(h.Leaf().Raw)
	return hex.EncodeToString(sum[:])
}

// TLS is the form in which a connection shows it.
func (h *Held) TLS() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: h.Key, Leaf: h.Leaf()}
	for _, each := range h.Chain {
		c.Certificate = append(c.Certificate, each.Raw)
	}
	return c
}

// Matches tells whether the key is the certificate's.
func Matches(key crypto.Signer, leaf *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(leaf.PublicKey)
}

// ParseHeld reads a key and certificates in PEM, in any order but that of the
// chain.
func ParseHeld(data []byte) (*Held, error) {
	h := &Held{Adopted: bytes.HasPrefix(data, []byte(adopted))}
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			key, err := ParseKey(pem.EncodeToMemory(block))
			if err != nil {
				return nil, err
			}
			if h.Key != nil {
				return nil, errors.New("there are two private keys")
			}
			h.Key = key
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			if h.Chain = append(h.Chain, c); len(h.Chain) > maxChain {
				return nil, fmt.Errorf("the chain has more than %d certificates", maxChain)
			}
		}
	}
	switch {
	case h.Key == nil:
		return nil, errors.New("there is no private key")
	case len(h.Chain) == 0:
		return nil, errors.New("there is no certificate")
	case !Matches(h.Key, h.Leaf()):
		return nil, errors.New("the private key is not the certificate's")
	}
	return h, nil
}

// ParseKey reads a private key in PEM: PKCS#8, or the older forms of EC and RSA.
func ParseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no private key in PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("the private key cannot be read") // err might quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T does not sign", key)
	}
	return signer, nil
}

func chainPEM(chain []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

// fill writes the files of one generation.
func (f *Folder) fill(inside *os.Root, h *Held) error {
	key, err := client.EncodeKey(h.Key)
	if err != nil {
		return err
	}
	cert, chain := chainPEM(h.Chain[:1]), chainPEM(h.Chain[1:])
	full := slices.Concat(cert, chain)
	all := slices.Concat(key, full)
	own := all
	if h.Adopted {
		own = slices.Concat([]byte(adopted), all)
	}
	if err := steady.Create(inside, held, steady.Plain(own, 0o600)); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{f.Files.Key, key, f.Mode},
		{f.Files.Cert, cert, f.PublicMode},
		{f.Files.Chain, chain, f.PublicMode},
		{f.Files.Fullchain, full, f.PublicMode},
		{f.Files.Combined, all, f.Mode},
	} {
		if file.name == "" {
			continue
		}
		if err := steady.Create(inside, file.name, steady.File{Data: file.data, Mode: file.mode, UID: f.UID, GID: f.GID}); err != nil {
			return fmt.Errorf("%s: %w", f.Path(file.name), err)
		}
	}
	return nil
}

// blocks are the PEM blocks of a text, each in canonical form.
func blocks(text []byte) []string {
	var all []string
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		if key, err := ParseKey(pem.EncodeToMemory(block)); err == nil && block.Type != "CERTIFICATE" {
			if canonical, err := client.EncodeKey(key); err == nil {
				all = append(all, string(canonical))
				continue
			}
		}
		block.Headers = nil
		all = append(all, string(pem.EncodeToMemory(block)))
	}
}

// blocks are those of the key and of the certificates.
func (h *Held) blocks() []string {
	key, err := client.EncodeKey(h.Key)
	if err != nil {
		return nil
	}
	return append(blocks(key), blocks(chainPEM(h.Chain))...)
}
