package cosign

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/merkle"
)

const (
	// MaxRequest is the largest request in octets: 63 hashes and a checkpoint.
	MaxRequest = 64 << 10
	// MaxAnswer is the largest answer in octets.
	MaxAnswer = 16 << 10
	// maxProof is how many hashes a consistency proof has at most.
	maxProof = 63
	// SizeType is the media type of an answer that names the size of the checkpoint
	// which the witness has seen.
	SizeType = "text/x.tlog.size"
	// Path of the call, under a witness's submission prefix.
	Path = "/add-checkpoint"
)

// Request is the body of add-checkpoint.
type Request struct {
	Old        uint64 // the size of the tree that the witness has cosigned last; 0: none
	Proof      [][merkle.HashSize]byte
	Checkpoint []byte // a signed note
}

// Marshal is the request's one encoding.
func (r Request) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, hash := range r.Proof {
		b.WriteString(base64.StdEncoding.EncodeToString(hash[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(r.Checkpoint)
	return b.Bytes()
}

// ParseRequest reads a request. The checkpoint is not looked into.
func ParseRequest(data []byte) (Request, error) {
	if len(data) > MaxRequest {
		return Request{}, fmt.Errorf("more than %d octets", MaxRequest)
	}
	head, checkpoint, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, found := strings.CutPrefix(lines[0], "old ")
	if !ok || !found || len(checkpoint) == 0 {
		return Request{}, errors.New("not a line \"old SIZE\", hashes, an empty line and a checkpoint")
	}
	r := Request{Checkpoint: checkpoint}
	var err error
	if r.Old, err = parseSize(old); err != nil {
		return Request{}, err
	}
	if len(lines)-1 > maxProof {
		return Request{}, fmt.Errorf("more than %d hashes", maxProof)
	}
	for _, line := range lines[1:] {
		// DecodeString skips line ends: they would be a second way to write a hash.
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != merkle.HashSize || strings.Contains(line, "\r") {
			return Request{}, fmt.Errorf("%.64q is not a hash in base64", line)
		}
		r.Proof = append(r.Proof, [merkle.HashSize]byte(hash))
	}
	return r, nil
}

// ParseSize reads the answer that names a size: decimal, and a newline.
func ParseSize(data []byte) (uint64, error) {
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok {
		return 0, errors.New("the size does not end with a newline")
	}
	return parseSize(text)
}

func parseSize(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > merkle.MaxSize || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("size %.32q is not a decimal number", text)
	}
	return n, nil
}

// Cosignature is what a witness has signed.
type Cosignature struct {
	Line []byte // the signature line, with its newline, as it follows a note
	Time time.Time
}

// ParseAnswer takes the witness's cosignature of the signed checkpoint out of its
// answer, and checks it. Signatures of other keys are let be.
func ParseAnswer(checkpoint, answer []byte, witness note.Verifier) (Cosignature, error) {
	if len(answer) > MaxAnswer {
		return Cosignature{}, fmt.Errorf("the answer has more than %d octets", MaxAnswer)
	}
	n, err := note.Open(append(bytes.Clone(checkpoint), answer...), note.VerifierList(witness))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return Cosignature{}, fmt.Errorf("the answer has no signature of the key %s", witness.Name())
	case errors.As(err, &invalid):
		return Cosignature{}, fmt.Errorf("the answer's signature of the key %s does not hold", witness.Name())
	case err != nil:
		return Cosignature{}, errors.New("the answer is not lines of signatures")
	}
	// What stands in the answer may make a longer note of the checkpoint's text.
	if text, _, ok := bytes.Cut(checkpoint, []byte("\n\n")); !ok || n.Text != string(text)+"\n" {
		return Cosignature{}, errors.New("the answer is not lines of signatures")
	}
	at, err := formats.CoSigV1Timestamp(n.Sigs[0])
	if err != nil {
		return Cosignature{}, errors.New("the answer's signature is no cosignature/v1")
	}
	return Cosignature{Line: fmt.Appendf(nil, "— %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64), Time: at.UTC()}, nil
}

// Answer is what a witness answers: the lines of its signatures of a checkpoint,
// which it has checked already.
func Answer(checkpoint []byte, witness note.Signer) ([]byte, error) {
	text, _, ok := bytes.Cut(checkpoint, []byte("\n\n"))
	if !ok {
		return nil, errors.New("the checkpoint is not a signed note")
	}
	signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, witness)
	if err != nil {
		return nil, err
	}
	_, lines, _ := bytes.Cut(signed, []byte("\n\n"))
	return lines, nil
}
