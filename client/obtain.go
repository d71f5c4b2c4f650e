package client

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/client/schedule"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// maxChain is how many certificates an answer may have.
const maxChain = 10

// attempt gets one certificate and hands it out from then on.
func (k *Keeper) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	now := k.held.Load()
	roots, err := k.ca.roots(ctx)
	if err != nil {
		if now == nil {
			return err
		}
		roots = now.list
		k.wish.Logger.LogAttrs(ctx, slog.LevelWarn, "the roots cannot be read again", slog.Any("error", err))
	}
	if k.pending == nil {
		key, err := NewKey(k.wish.Key)
		if err != nil {
			return err
		}
		csr, err := CSR(key, ParseNames(k.wish.Names))
		if err != nil {
			return err
		}
		k.pending = &pending{id: newRequestID(), csr: string(csr), key: key}
	}
	kind, answer, err := k.request(ctx, now)
	if err != nil {
		if !passes(err) { // it was answered: there is nothing to ask for again
			k.pending = nil
		}
		return err
	}
	key := k.pending.key
	k.pending = nil
	certificate, err := k.wish.accept(key, answer, poolOf(roots))
	if err != nil {
		return fmt.Errorf("the CA's answer is refused: %w", err)
	}
	k.refused = false
	k.handOut(kind, newHeld(certificate, roots))
	return nil
}

// request asks for a certificate: to renew the one that there is, or else by the
// wish's own credentials; the other way round if the CA was seen to refuse it.
func (k *Keeper) request(ctx context.Context, now *held) (EventKind, *certwrightv1.Certificate, error) {
	renews := now != nil && k.wish.CA.renews() && wall().Before(now.certificate.Leaf.NotAfter)
	proves := k.wish.CA.proves()
	sign := func() (EventKind, *certwrightv1.Certificate, error) {
		c, err := k.ca.sign(ctx, k.wish.request(k.pending))
		return Obtained, c, err
	}
	renew := func() (EventKind, *certwrightv1.Certificate, error) {
		req := &certwrightv1.RenewCertificateRequest{Id: idOf(now.certificate), Csr: k.pending.csr, RequestId: k.pending.id}
		if k.wish.Validity > 0 {
			req.Validity = durationpb.New(k.wish.Validity)
		}
		c, err := k.ca.renew(ctx, now.certificate, req)
		return Renewed, c, err
	}
	switch {
	case !renews && !proves:
		return "", nil, errors.New("there is neither a certificate that can be renewed nor a token to get one: set CA.Token or CA.GetClientCertificate")
	case !renews:
		return sign()
	case !proves:
		return renew()
	}
	first, second := renew, sign
	if k.refused {
		first, second = sign, renew
	}
	kind, c, err := first()
	if err == nil || !refusal(err) && !perhaps(err) {
		return kind, c, err
	}
	if kind == Renewed && refusal(err) {
		k.refused = true
		k.wish.Logger.LogAttrs(ctx, slog.LevelWarn, "the CA does not renew the certificate; asking for another", slog.Any("error", err))
	}
	other, c, err2 := second()
	if err2 != nil {
		return other, nil, fmt.Errorf("%w; before: %w", err2, err)
	}
	return other, c, nil
}

// handOut hands the certificate out from now on, and keeps it.
func (k *Keeper) handOut(kind EventKind, h *held) {
	leaf := h.certificate.Leaf
	k.held.Store(h)
	k.change(func(p schedule.Plan) schedule.Plan { return k.rules.Renewed(p, leaf.NotBefore, leaf.NotAfter, wall()) })
	err := k.wish.keep(h)
	k.mu.Lock()
	k.last = err
	k.mu.Unlock()
	k.tell(Event{Kind: kind})
	if err != nil {
		k.tell(Event{Kind: NotKept, Err: err})
	}
}

// accept is the answer as a certificate for TLS, after it was found to be what was
// asked for: for this key, these names, up to one of the roots.
func (w *Wish) accept(key crypto.Signer, answer *certwrightv1.Certificate, roots *x509.CertPool) (*tls.Certificate, error) {
	certificate := &tls.Certificate{PrivateKey: key}
	for rest := []byte(answer.GetPem() + "\n" + answer.GetChainPem()); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(certificate.Certificate) == maxChain {
			return nil, fmt.Errorf("it is no chain of at most %d certificates", maxChain)
		}
		certificate.Certificate = append(certificate.Certificate, block.Bytes)
	}
	if len(certificate.Certificate) == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	if err := w.fits(certificate, roots); err != nil {
		return nil, err
	}
	if wall().After(certificate.Leaf.NotAfter) {
		return nil, errors.New("it has expired already: is this machine's clock right?")
	}
	return certificate, nil
}

// fits tells whether the certificate is what is wished for. It sets Leaf.
func (w *Wish) fits(c *tls.Certificate, roots *x509.CertPool) error {
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return err
	}
	if leaf.IsCA {
		return errors.New("it is the certificate of a CA")
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("there is no private key")
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	if got, want := namesOf(leaf), w.names(); !slices.Equal(got, want) {
		return fmt.Errorf("the certificate is for %.256q, asked for was %.256q", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	options := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime: within(wall(), leaf.NotBefore, leaf.NotAfter), // a clock that is a little behind is no fault
	}
	for _, der := range c.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	c.Leaf = leaf
	return nil
}

func within(t, from, to time.Time) time.Time {
	if t.Before(from) {
		return from
	}
	if t.After(to) {
		return to
	}
	return t
}

// names are the wished names in one form, sorted.
func (w *Wish) names() []string {
	var all []string
	names := ParseNames(w.Names)
	for _, name := range names.DNS {
		all = append(all, strings.ToLower(name))
	}
	for _, name := range names.IP {
		if addr, err := netip.ParseAddr(name); err == nil {
			all = append(all, addr.Unmap().String())
		}
	}
	return distinct(slices.Concat(all, names.URI, names.Email))
}

// namesOf is names of a certificate.
func namesOf(leaf *x509.Certificate) []string {
	all := slices.Concat(leaf.DNSNames, leaf.EmailAddresses)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	for _, u := range leaf.URIs {
		all = append(all, u.String())
	}
	return distinct(all)
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
