package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/softkms"
)

// Config says where one key is.
type Config struct {
	// URI of the key: "file:keys/issuing.key", or one of a key manager in this
	// build.
	URI string
	// Dir is the folder that a relative file: path starts from; empty: the
	// working directory.
	Dir string
	// Passphrase gives what the file is encrypted under; it is called once. nil:
	// the file is not encrypted. With a passphrase, a file that is not encrypted
	// is refused: it would be less safe than the configuration says.
	Passphrase func() ([]byte, error)
}

// The algorithms a key of the authority can have.
const (
	ECDSAP256 = "ecdsa-p256"
	ECDSAP384 = "ecdsa-p384"
	Ed25519   = "ed25519"
	RSA2048   = "rsa-2048"
	RSA3072   = "rsa-3072"
	RSA4096   = "rsa-4096"
)

// Open opens the key and proves with one signature that it works: a token
// without a PIN, or a KMS without the right to sign, is noticed here.
func Open(ctx context.Context, cfg Config) (crypto.Signer, error) {
	path, isFile, err := filePath(cfg)
	if err != nil {
		return nil, err
	}
	var signer crypto.Signer
	if isFile {
		signer, err = openFile(ctx, path, cfg.Passphrase)
	} else {
		signer, err = openManaged(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", redact(cfg.URI), err)
	}
	if err := probe(signer); err != nil {
		return nil, fmt.Errorf("key %s: a trial signature failed: %w", redact(cfg.URI), err)
	}
	return signer, nil
}

// Create makes a key of one of the algorithms named in this package. A file is
// written whole or not at all, with mode 0600; one that is there is never
// overwritten (the error wraps fs.ErrExist). Keys of other key managers are
// made with those managers' own tools.
func Create(ctx context.Context, cfg Config, alg string) (crypto.Signer, error) {
	path, isFile, err := filePath(cfg)
	if err != nil {
		return nil, err
	}
	if !isFile {
		return nil, fmt.Errorf("key %s: only file: keys are made here; make it with the key manager's own tools", redact(cfg.URI))
	}
	signer, err := generate(ctx, alg)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", cfg.URI, err)
	}
	if err := writeFile(path, signer, cfg.Passphrase); err != nil {
		return nil, fmt.Errorf("key %s: %w", cfg.URI, err)
	}
	return signer, nil
}

// Algorithm is the name of a public key's algorithm and size, as profiles and
// Create write it; "" for a kind of key that has no name here. An RSA key of
// another size is "rsa-" and its bits.
func Algorithm(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return ECDSAP256
		case elliptic.P384():
			return ECDSAP384
		}
	case ed25519.PublicKey:
		return Ed25519
	case *rsa.PublicKey:
		if k.N != nil {
			return fmt.Sprintf("rsa-%d", k.N.BitLen())
		}
	}
	return ""
}

// filePath is the path of a file: URI; false for another scheme.
func filePath(cfg Config) (string, bool, error) {
	scheme, rest, found := strings.Cut(cfg.URI, ":")
	if !found || scheme == "" {
		return "", false, fmt.Errorf("key %.64q is not a URI: write file:PATH", cfg.URI)
	}
	if !strings.EqualFold(scheme, "file") {
		return "", false, nil
	}
	path := strings.TrimPrefix(rest, "//") // file:///abs/path
	if path == "" || strings.ContainsRune(path, 0) {
		return "", false, fmt.Errorf("key %.64q names no file: write file:PATH", cfg.URI)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(cfg.Dir, path)
	}
	return path, true, nil
}

// redact drops what may hold a PIN: everything behind "?" and pin attributes.
func redact(uri string) string {
	uri, _, _ = strings.Cut(uri, "?")
	parts := strings.Split(uri, ";")
	kept := parts[:0]
	for _, p := range parts {
		if !strings.HasPrefix(strings.ToLower(p), "pin-") {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ";")
}

// openManaged opens a key of a key manager that this build has.
func openManaged(ctx context.Context, cfg Config) (crypto.Signer, error) {
	kind, err := apiv1.TypeOf(cfg.URI)
	if err != nil {
		return nil, errors.New("no such kind of key: write file:PATH, or the URI of a key manager")
	}
	open, ok := apiv1.LoadKeyManagerNewFunc(kind)
	if !ok || kind == apiv1.SoftKMS {
		return nil, fmt.Errorf("this build has no key manager %q: write file:PATH", kind)
	}
	manager, err := open(ctx, apiv1.Options{Type: kind, URI: cfg.URI})
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	signer, err := manager.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: cfg.URI})
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	return signer, nil
}

// generate makes a private key in memory.
func generate(ctx context.Context, alg string) (crypto.Signer, error) {
	req := &apiv1.CreateKeyRequest{}
	switch alg {
	case ECDSAP256:
		req.SignatureAlgorithm = apiv1.ECDSAWithSHA256
	case ECDSAP384:
		req.SignatureAlgorithm = apiv1.ECDSAWithSHA384
	case Ed25519:
		req.SignatureAlgorithm = apiv1.PureEd25519
	case RSA2048, RSA3072, RSA4096:
		req.SignatureAlgorithm = apiv1.SHA256WithRSA
		_, _ = fmt.Sscanf(alg, "rsa-%d", &req.Bits)
	default:
		return nil, fmt.Errorf("algorithm %.32q is not one of ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096", alg)
	}
	manager, err := softkms.New(ctx, apiv1.Options{})
	if err != nil {
		return nil, err
	}
	created, err := manager.CreateKey(req)
	if err != nil {
		return nil, err
	}
	return manager.CreateSigner(&created.CreateSignerRequest)
}

// probe signs a fixed text and verifies the signature.
func probe(signer crypto.Signer) error {
	message := []byte("certwright: trial signature of a key at its opening")
	digest := sha256.Sum256(message)
	switch pub := signer.Public().(type) {
	case *ecdsa.PublicKey:
		sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(pub, digest[:], sig) {
			err = errors.New("it does not verify")
		}
		return err
	case *rsa.PublicKey:
		sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err == nil {
			err = rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig)
		}
		return err
	case ed25519.PublicKey:
		sig, err := signer.Sign(rand.Reader, message, crypto.Hash(0))
		if err == nil && !ed25519.Verify(pub, message, sig) {
			err = errors.New("it does not verify")
		}
		return err
	default:
		return fmt.Errorf("a key of type %T cannot sign certificates", pub)
	}
}
