package client

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/client/schedule"
	"github.com/certwright/certwright/client/steady"
)

const (
	// fileName is the file in the folder: key, certificate and chain in one, which
	// change together.
	fileName = "identity.pem"
	maxFile  = 256 << 10
)

// find takes up the certificate in the folder, if it is what is wished for and not past
// its end. A file that others could have read or written is an error: its key is theirs.
func (k *Keeper) find() error {
	if k.wish.Folder == "" {
		return nil
	}
	root, err := steady.Open(k.wish.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read
	text, info, err := steady.Read(root, fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, steady.ErrTooLarge) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := steady.Secret(info); err != nil {
		return fmt.Errorf("%s holds a private key, and %w: remove it", filepath.Join(k.wish.Folder, fileName), err)
	}
	k.take(text, info.ModTime())
	return nil
}

// take takes up what a file has; what does not fit is as if it were not there.
func (k *Keeper) take(text []byte, stored time.Time) {
	kept, err := parseIdentity(text)
	if err != nil || kept.tag != k.wish.tag() {
		return
	}
	roots, err := k.wish.knownRoots(kept.root)
	if err != nil || k.wish.fits(kept.certificate, poolOf(roots)) != nil || wall().After(kept.certificate.Leaf.NotAfter) {
		return
	}
	leaf := kept.certificate.Leaf
	k.held.Store(newHeld(kept.certificate, roots))
	k.plan = k.rules.Renewed(schedule.Plan{}, leaf.NotBefore, leaf.NotAfter, within(stored.Round(0), leaf.NotBefore, wall()))
	k.tell(Event{Kind: Found})
}

// knownRoots are the roots that can be had without a server.
func (w *Wish) knownRoots(kept *x509.Certificate) ([]*x509.Certificate, error) {
	if w.CA.CAFile != "" {
		return readRoots(w.CA.CAFile)
	}
	want, err := ParseFingerprint(w.CA.Fingerprint)
	if err != nil {
		return nil, err
	}
	if kept == nil || Fingerprint(kept) != "sha256:"+hex.EncodeToString(want) {
		return nil, errors.New("the root that was kept is not that of the fingerprint")
	}
	return []*x509.Certificate{kept}, nil
}

// tag is the same for the same wish.
func (w *Wish) tag() string {
	text, err := json.Marshal([]any{w.CA.Server, w.names(), w.Profile, w.Owner, w.Labels, w.Validity, w.Key})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// keep writes the certificate into the folder: the file is there whole, or as it was.
func (w *Wish) keep(h *held) error {
	if w.Folder == "" {
		return nil
	}
	text, err := w.encodeIdentity(h)
	if err != nil {
		return err
	}
	root, err := steady.Make(w.Folder, 0o700)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // what was done is durable
	return steady.Replace(root, fileName, steady.Plain(text, 0o600))
}

// The blocks that a kept identity has besides its key and certificates.
const (
	tagType  = "CERTWRIGHT WISH"
	rootType = "CERTWRIGHT ROOT" // if a fingerprint pins it
)

// identity is what is kept.
type identity struct {
	certificate *tls.Certificate
	root        *x509.Certificate // nil: not kept
	tag         string
}

func (w *Wish) encodeIdentity(h *held) ([]byte, error) {
	key, ok := h.certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("there is no private key")
	}
	text, err := EncodeKey(key)
	if err != nil {
		return nil, err
	}
	tag, err := hex.DecodeString(w.tag())
	if err != nil {
		return nil, err
	}
	var blocks []*pem.Block
	for _, der := range h.certificate.Certificate {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	if w.CA.Fingerprint != "" {
		blocks = append(blocks, &pem.Block{Type: rootType, Bytes: h.list[0].Raw})
	}
	for _, block := range append(blocks, &pem.Block{Type: tagType, Bytes: tag}) {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	return text, nil
}

// parseIdentity reads what encodeIdentity writes.
func parseIdentity(text []byte) (*identity, error) {
	if len(text) > maxFile {
		return nil, errors.New("the file is too large")
	}
	kept := &identity{certificate: &tls.Certificate{}}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := kept.add(block); err != nil {
			return nil, err
		}
	}
	if c := kept.certificate; c.PrivateKey == nil || len(c.Certificate) == 0 || len(c.Certificate) > maxChain {
		return nil, errors.New("there are not a key and its certificates in it")
	}
	return kept, nil
}

func (i *identity) add(block *pem.Block) (err error) {
	switch block.Type {
	case "PRIVATE KEY":
		i.certificate.PrivateKey, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "CERTIFICATE":
		i.certificate.Certificate = append(i.certificate.Certificate, block.Bytes)
	case rootType:
		i.root, err = x509.ParseCertificate(block.Bytes)
	case tagType:
		i.tag = hex.EncodeToString(block.Bytes)
	default:
		return fmt.Errorf("there is a %.64q in it", block.Type)
	}
	return err
}
