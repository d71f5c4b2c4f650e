package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// ageMark is what an encrypted backup begins with.
const ageMark = "age-encryption.org/"

// ErrEncrypted says that a backup is encrypted, and that there is no identity.
var ErrEncrypted = errors.New("the backup is encrypted: name the file with the age identity by --identity")

// Recipients reads age recipients, one a line ("age1…"); lines with # are comments.
func Recipients(text []byte) ([]age.Recipient, error) {
	all, err := age.ParseRecipients(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("age recipient: %w", err)
	}
	return all, nil
}

// Encrypt encrypts what is written to it for the recipients. It must be closed.
func Encrypt(w io.Writer, to []age.Recipient) (io.WriteCloser, error) {
	return age.Encrypt(w, to...)
}

// Open is the archive of a backup's file, decrypted if it is encrypted. identities
// are age identities ("AGE-SECRET-KEY-1…"), one a line; nil: none.
func Open(r io.Reader, identities []byte) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	mark, err := buffered.Peek(len(ageMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(mark) != ageMark {
		return buffered, nil
	}
	if identities == nil {
		return nil, ErrEncrypted
	}
	known, err := age.ParseIdentities(bytes.NewReader(identities))
	if err != nil {
		return nil, errors.New("the file of --identity holds no age identity: it has lines that begin with AGE-SECRET-KEY-1")
	}
	out, err := age.Decrypt(buffered, known...)
	var no *age.NoIdentityMatchError
	if errors.As(err, &no) {
		return nil, errors.New("the backup is encrypted for another identity than that of --identity")
	}
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be decrypted: %w", err)
	}
	return out, nil
}
