package ca

import (
	"context"
	"errors"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const (
	repeatPatience = 5 * time.Second // for a twin of the request that is under way
	repeatInterval = 10 * time.Millisecond
)

// errUnderWay: the same request is reserved and not issued yet.
var errUnderWay = errors.New("under way")

// repeated is step 1. A request whose twin is under way waits for it.
func (a *Authority) repeated(ctx context.Context, req identity.Request) (Issued, bool, error) {
	key := req.Key()
	if key == ([32]byte{}) {
		return Issued{}, false, nil
	}
	digest, err := req.Digest()
	if err != nil {
		return Issued{}, false, &problem.Problem{Kind: problem.BadCSR, Reason: "KEY_TYPE", Detail: "the key cannot stand in a certificate", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, repeatPatience)
	defer cancel()
	tick := time.NewTicker(repeatInterval)
	defer tick.Stop()
	for {
		again, err := a.byRequest(ctx, key, digest)
		switch {
		case errors.Is(err, storage.ErrNotFound): // never, or abandoned: the ID is free
			return Issued{}, false, nil
		case err == nil:
			return again, true, nil
		case !errors.Is(err, errUnderWay):
			return Issued{}, false, storeProblem(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Issued{}, false, &problem.Problem{
				Kind: problem.Unavailable, Reason: "REQUEST_UNDER_WAY", Detail: "the same request is under way", Help: "try again",
			}
		}
	}
}

// raced answers a request whose twin was reserved between steps 1 and 5.
func (a *Authority) raced(ctx context.Context, req identity.Request) (Issued, error) {
	again, found, err := a.repeated(ctx, req)
	if found {
		a.counters.repeated.Add(1)
	}
	if err == nil && !found {
		err = &problem.Problem{
			Kind: problem.Unavailable, Reason: "REQUEST_ABANDONED", Detail: "the same request was given up meanwhile", Help: "try again",
		}
	}
	return again, err
}

func (a *Authority) byRequest(ctx context.Context, key, digest [32]byte) (Issued, error) {
	row, err := a.store.ByRequest(ctx, key)
	if err != nil {
		return Issued{}, err
	}
	if row.Intent.RequestDigest != digest {
		return Issued{}, &problem.Problem{
			Kind: problem.Conflict, Reason: "REQUEST_ID_REUSED", Detail: "the request ID stands for another request of the same caller",
			Help: "repeat the request as it was, or use a new request ID",
		}
	}
	if row.State == storage.Reserved {
		return Issued{}, errUnderWay
	}
	out := Issued{Certificate: row, Repeated: true}
	if is := a.byKey[row.Issuer]; is != nil {
		out.Chain, out.Issuer = is.chain, is.Name
	}
	return out, nil
}
