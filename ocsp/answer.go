package ocsp

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// signTimeout bounds a signature and its reads once they have begun: others may
// wait for the same answer.
const signTimeout = 5 * time.Second

// answer is the reply to an OCSPRequest.
func (r *Responder) answer(ctx context.Context, der []byte, req *request) *reply {
	if !req.parse(der) {
		return r.failures.malformed
	}
	is, served := r.issuerOf(req)
	if !served {
		return r.failures.unauthorized
	}
	if len(req.ids) == 1 && req.nonce == nil {
		if serial, ok := req.ids[0].ours(); ok {
			return r.known(ctx, is, key{is.number, req.ids[0].variant, serial}, req.from)
		}
	}
	rep, err := r.sign(ctx, is, r.subjects(is, req), req.nonce, req.from)
	if err != nil {
		return r.failed(is, err)
	}
	return rep
}

// issuerOf is the one issuer of ours that the request names; false: there is
// none, or there are several. CertIDs of others stand beside it as unknown.
func (r *Responder) issuerOf(req *request) (*issuer, bool) {
	var found *issuer
	for i := range req.ids {
		h, ok := hashOf(&req.ids[i])
		if !ok {
			continue
		}
		is := r.byHash[h]
		if is == nil {
			continue
		}
		if found != nil && found != is {
			return nil, false
		}
		found = is
	}
	return found, found != nil
}

// subject is a certificate that is asked for.
type subject struct {
	id     []byte // DER of its CertID
	serial identity.Serial
	ours   bool // the issuer's, and of the shape of its serials
}

// subjects are what the request asks of an issuer.
func (r *Responder) subjects(is *issuer, req *request) []subject {
	out := make([]subject, len(req.ids))
	for i := range req.ids {
		id := &req.ids[i]
		out[i].id = id.raw
		if h, ok := hashOf(id); ok && r.byHash[h] == is {
			out[i].serial, out[i].ours = id.ours()
		}
	}
	return out
}

// known is the reply for one serial without a nonce: kept, or signed once for
// all who ask at the same time, from an address.
func (r *Responder) known(ctx context.Context, is *issuer, k key, from string) *reply {
	shard := r.cache.shard(k)
	for again := true; ; again = false {
		kept, f, leader := shard.begin(k, r.now())
		if f == nil {
			r.counters.hits.Add(1)
			return kept
		}
		r.counters.misses.Add(1)
		if leader {
			return r.fly(ctx, is, k, f, kept, from)
		}
		select {
		case <-f.done:
			if f.reply != r.failures.later || !again { // else the leader's address has too many: this one's may not
				return f.reply
			}
		case <-ctx.Done():
			return r.failures.later
		}
	}
}

// fly leads a flight to its end: the leader's own caller going away does not
// fail the others. If the answer cannot be signed in time, kept is still right:
// it is valid, and nobody has said that the certificate's state has changed.
func (r *Responder) fly(ctx context.Context, is *issuer, k key, f *flight, kept *reply, from string) (rep *reply) {
	shard, fresh := r.cache.shard(k), false
	rep = r.failures.internal
	defer func() { shard.end(k, f, rep, fresh) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signTimeout)
	defer cancel()
	subjects := []subject{{is.certID(k.variant, k.serial), k.serial, true}}
	var err error
	for range 2 { // once more, if the state may have changed after it was read
		if rep, err = r.sign(ctx, is, subjects, nil, from); err != nil || !shard.stale(f) {
			break
		}
	}
	switch {
	case err == nil:
		fresh = true
		return rep
	case kept != nil && !errors.Is(err, errStore) && !shard.stale(f):
		r.counters.late.Add(1)
		return kept
	}
	return r.failed(is, err)
}

// errStore: the state could not be read.
var errStore = errors.New("state cannot be read")

// failed is the reply when there is no answer.
func (r *Responder) failed(is *issuer, err error) *reply {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errNoSigner), errors.Is(err, context.Canceled):
		return r.failures.later
	}
	r.logger.Error("no OCSP answer", slog.String("issuer", is.name), slog.Any("error", err))
	return r.failures.internal
}

// sign reads the states and signs an answer of its own for them. It waits for
// its turn, among those of other addresses, first: what it signs is what stands in
// the ledger then.
func (r *Responder) sign(ctx context.Context, is *issuer, subjects []subject, nonce []byte, from string) (*reply, error) {
	if err := r.slots.take(ctx, sourceOf(from)); err != nil {
		return nil, err
	}
	defer r.slots.give()
	now := r.now().UTC().Truncate(time.Second)
	s, err := is.signer(now)
	if err != nil {
		return nil, err
	}
	res := &response{thisUpdate: now, nextUpdate: now.Add(r.lifetime), cutoff: is.cert.NotBefore, nonce: nonce}
	if s.notAfter.Before(res.nextUpdate) {
		res.nextUpdate = s.notAfter
	}
	res.singles = make([]single, len(subjects))
	for i := range subjects {
		if res.singles[i], err = r.status(ctx, is, &subjects[i]); err != nil {
			return nil, errors.Join(errStore, err)
		}
	}
	body, err := s.sign(res)
	if err != nil {
		r.counters.signFailures.Add(1)
		return nil, err
	}
	if s == is.own {
		r.counters.byIssuer.Add(1)
	} else {
		r.counters.byResponder.Add(1)
	}
	rep := newReply(body)
	if st := res.singles[0].status; len(subjects) == 1 && nonce == nil && st != unknown {
		rep.keep(st, res.thisUpdate, res.nextUpdate)
	}
	for i := range res.singles {
		rep.counts[res.singles[i].status]++
	}
	return rep, nil
}

// status is what the ledger says of one certificate.
func (r *Responder) status(ctx context.Context, is *issuer, s *subject) (single, error) {
	answer := single{id: s.id, status: unknown}
	if !s.ours {
		return answer, nil
	}
	cert, err := r.store.BySerial(ctx, is.keyID, s.serial)
	if errors.Is(err, storage.ErrNotFound) {
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	switch {
	case cert.Issuer != is.keyID || cert.Serial != s.serial:
		return answer, errors.New("the store gave another certificate")
	case cert.Revocation != nil:
		answer.status, answer.revokedAt, answer.reason = revoked, cert.Revocation.At.UTC(), cert.Revocation.Reason
	case cert.State == storage.Issued:
		answer.status = good
	}
	return answer, nil
}

// systemPrincipal is the server itself, as the policy's built-in grant names it.
func systemPrincipal() identity.Principal {
	return identity.Principal{Method: identity.System, ID: "server"}
}
