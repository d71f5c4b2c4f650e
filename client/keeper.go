package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/client/schedule"
)

// Wish is the certificate that a Keeper keeps fresh.
type Wish struct {
	// CA is the server, how to know it and who asks: by a token, by a device
	// certificate (GetClientCertificate) or over the admin socket. CAFile or Fingerprint
	// is needed: their roots are also those of the peers. CAFile is read again at each
	// renewal.
	CA Config
	// Names of the certificate: DNS names, IP addresses, URIs such as SPIFFE IDs, by
	// their form.
	Names []string
	// Profile to issue under. Empty: the only one that the grant names.
	Profile string
	// Owner of the certificate. Empty: what the grant says.
	Owner string
	// Labels that are kept with the certificate.
	Labels map[string]string
	// Validity that is wished for, at least a second. 0: what the profile says.
	Validity time.Duration
	// Key is the kind of key, one of KeyTypes. Each certificate has a new one. Empty:
	// the first.
	Key string
	// Folder keeps key and certificate over a restart, in one file that only this user
	// can read. Empty: they are in memory only. Two processes do not share one.
	Folder string
	// Logger is told what happens. Nil: nobody is.
	Logger *slog.Logger
	// OnEvent is called with what happens, one call at a time; renewal waits for it.
	// It must not call the Keeper's Renew or Close.
	OnEvent func(Event)
}

// Event is something that happened to the certificate.
type Event struct {
	// Kind is what happened.
	Kind EventKind
	// Leaf is the certificate that is handed out now; nil before the first.
	Leaf *x509.Certificate
	// Err is why it went wrong, if it did.
	Err error
	// Next is when the next attempt is made.
	Next time.Time
}

// EventKind is a sort of event. New ones may be added.
type EventKind string

// The kinds of events.
const (
	// Found says that a certificate was found in the folder.
	Found EventKind = "found"
	// Obtained says that a certificate came by the token, device certificate or socket.
	Obtained EventKind = "obtained"
	// Renewed says that the CA has renewed the certificate.
	Renewed EventKind = "renewed"
	// Failed says that an attempt gave no certificate: the old one is handed out as long
	// as there is no other, past its end too.
	Failed EventKind = "failed"
	// NotKept says that the certificate could not be written into the folder: it is in
	// memory only.
	NotKept EventKind = "not kept"
)

// Status is how the certificate is at a time.
type Status struct {
	Leaf *x509.Certificate
	// Next is when the next attempt is made.
	Next time.Time
	// Failures in a row since the last certificate came.
	Failures int
	// Err is why the last attempt, or the last writing into the folder, failed; nil: it
	// did not.
	Err error
}

// Expired tells that the certificate that is handed out is of no use any more.
func (s Status) Expired() bool { return time.Now().After(s.Leaf.NotAfter) }

// held is what is handed out.
type held struct {
	certificate *tls.Certificate // with its Leaf
	list        []*x509.Certificate
	roots       *x509.CertPool // of the list
}

func newHeld(c *tls.Certificate, roots []*x509.Certificate) *held {
	return &held{certificate: c, list: roots, roots: poolOf(roots)}
}

// Keeper has a certificate and renews it, until it is closed. Its methods may be
// called from everywhere at the same time.
type Keeper struct {
	wish  Wish
	ca    authority
	rules schedule.Rules
	held  atomic.Pointer[held]

	mu   sync.Mutex // guards plan and last
	plan schedule.Plan
	last error

	pending *pending          // owned by run, and before it by Open
	refused bool              // the CA does not take the certificate any more; owned likewise
	wanted  chan chan<- error // renewals that were asked for
	stop    context.CancelFunc
	done    chan struct{}
}

// Open answers once there is a certificate: from the folder, or from the CA, which is
// asked again, later and later, until the context ends. What will not pass by waiting,
// such as a refusal, is an error at once. From then on the certificate is renewed in
// the background, until Close.
func Open(ctx context.Context, wish Wish) (*Keeper, error) {
	if err := wish.check(); err != nil {
		return nil, err
	}
	return open(ctx, wish, &remote{wish.CA}, schedule.Rules{})
}

func open(ctx context.Context, wish Wish, ca authority, rules schedule.Rules) (*Keeper, error) {
	if wish.Logger == nil {
		wish.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{wish: wish, ca: ca, rules: rules, wanted: make(chan chan<- error), done: make(chan struct{})}
	if err := k.find(); err != nil {
		return nil, err
	}
	if k.held.Load() == nil {
		if err := k.first(ctx); err != nil {
			return nil, err
		}
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	k.stop = stop
	go k.run(background)
	return k, nil
}

func (w *Wish) check() error {
	switch {
	case len(w.Names) == 0:
		return errors.New("a certificate needs names")
	case w.CA.CAFile == "" && w.CA.Fingerprint == "":
		return errors.New("the CA's roots are not known: set CAFile or Fingerprint")
	case w.Validity < 0 || w.Validity > 0 && w.Validity < time.Second:
		return fmt.Errorf("a validity of %s is less than a second", w.Validity)
	case w.Key == "":
		w.Key = KeyTypes()[0]
	}
	return nil
}

// Close ends the renewal and waits until it has ended. What was handed out can be used
// on.
func (k *Keeper) Close() {
	k.stop()
	<-k.done
}

// Renew has the certificate renewed now, whatever the time, and answers when that has
// succeeded or failed. After a key was seen by others, for example.
func (k *Keeper) Renew(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case k.wanted <- answer:
	case <-k.done:
		return errors.New("the keeper is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status tells how the certificate is.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Status{
		Leaf: k.held.Load().certificate.Leaf, Next: k.rules.Next(k.plan, wall()),
		Failures: k.plan.Failures, Err: k.last,
	}
}

// wall is the time of the clock on the wall, which goes on while the machine sleeps.
func wall() time.Time { return time.Now().Round(0) }
