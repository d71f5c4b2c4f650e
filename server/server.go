package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/server/setup"
)

// Options are how one server is started.
type Options struct {
	Config config.Config
	// AcceptMissingLock starts without the ledger's last-seen file, which the ledger
	// records. With --dev a warning is enough.
	AcceptMissingLock bool
	// Version of the program, for metrics and the announcement.
	Version string
	// Program is how the command was called, for the next command that the
	// announcement names. Empty: certwright.
	Program string
	// Out is where the announcement of --dev goes; nil: nowhere.
	Out    io.Writer
	Logger *slog.Logger // nil: none
	// Reload tells the server to read the policy file again: SIGHUP. nil: never.
	Reload <-chan os.Signal
	// NotifySocket is the environment's NOTIFY_SOCKET. Empty: nobody is notified.
	NotifySocket string
	// Ready is called once, when everything listens. May be nil.
	Ready func(Addresses)
	Now   func() time.Time // nil: time.Now
}

// drainTime is how long calls that are under way may take at the end.
const drainTime = 10 * time.Second

// Server is an opened server. Run serves it; Close gives it up without.
type Server struct {
	options   Options
	logger    *slog.Logger
	release   func() error // the data folder
	listeners *listeners
	rooms     *rooms
	health    *health
	metrics   *metrics
	published published
	root      *x509.Certificate
	notifier  notifier
}

// Run opens a server and serves until ctx ends, then drains it: at most 10 s for
// calls that are under way, and a last checkpoint. Errors of starting are one line
// that says what to do.
func Run(ctx context.Context, o Options) error {
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Open takes the data folder (with --dev it makes one, if there is none), listens
// and opens everything. Nothing is served yet.
func Open(ctx context.Context, o Options) (s *Server, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Program == "" {
		o.Program = "certwright"
	}
	s = &Server{options: o, logger: o.Logger, notifier: notifier{o.NotifySocket}}
	defer func() {
		if err != nil {
			err = errors.Join(explainDisk(err), s.Close())
		}
	}()
	c := &o.Config
	if err := datadir.CheckSocket(c.Path(c.AdminSocket)); err != nil {
		return s, err
	}
	format, err := folder(ctx, c, o.Now())
	if err != nil {
		return s, err
	}
	if s.release, err = datadir.Lock(c.Data); err != nil {
		return s, err
	}
	if s.listeners, err = listen(ctx, c); err != nil {
		return s, err
	}
	if err := s.readRoot(); err != nil {
		return s, err
	}
	if s.rooms, err = openRooms(ctx, s, format); err != nil {
		return s, err
	}
	s.publish()
	s.health = &health{rooms: s.rooms, pprof: c.Listen.Pprof}
	s.metrics, err = newMetrics(s.rooms, o.Version)
	return s, err
}

// folder finds the data folder, or makes it with --dev.
func folder(ctx context.Context, c *config.Config, now time.Time) (datadir.Format, error) {
	if c.Dev {
		if err := setup.Dev(ctx, *c, now); err != nil {
			return datadir.Format{}, err
		}
	}
	format, err := datadir.Read(c.Data)
	switch {
	case errors.Is(err, datadir.ErrNone):
		return format, fmt.Errorf("there is no CA in %s: make one with \"certwright init\", or try one with \"certwright serve --dev\"", c.Data)
	case err != nil:
		return format, err
	case c.Dev && format.Mode != datadir.Dev:
		return format, fmt.Errorf("the CA in %s was made for production: start it without --dev, or name another folder with --data", c.Data)
	case !c.Dev && format.Mode == datadir.Dev:
		return format, fmt.Errorf("the CA in %s was made by --dev, its keys are not encrypted: start it with --dev, or make one for production with \"certwright init\"", c.Data)
	case !c.Dev && c.Passphrase() == nil:
		return format, errors.New("the keys need a passphrase: set keys.passphrase_file or keys.credential (--dev alone keeps keys in clear)")
	}
	return format, nil
}

// readRoot reads the root certificate and, if it is there, its CRL.
func (s *Server) readRoot() error {
	c := &s.options.Config
	chain, err := readCertificates(filepath.Join(c.Data, datadir.RootCert))
	if err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	s.root = chain[0]
	s.published.root = s.root.Raw
	data, err := plainfile.Read(filepath.Join(c.Data, datadir.RootCRL), maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("root CRL: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "X509 CRL" {
		return fmt.Errorf("%s is no CRL in PEM", datadir.RootCRL)
	}
	s.published.crl = block.Bytes
	return nil
}

// publish gathers the issuers' certificates for the HTTP listener.
func (s *Server) publish() {
	s.published.certificates = map[string][]byte{}
	for _, info := range s.rooms.authority.Issuers() {
		s.published.certificates[info.Name] = info.Certificate.Raw
	}
}

// Addresses are where the server listens.
func (s *Server) Addresses() Addresses { return s.listeners.addresses() }

// Close gives up what Open has opened; Run does it itself.
func (s *Server) Close() error {
	var errs []error
	if s.listeners != nil {
		s.listeners.close()
	}
	if s.rooms != nil {
		errs = append(errs, s.rooms.close())
	}
	if s.release != nil {
		errs = append(errs, s.release())
		s.release = nil
	}
	return errors.Join(errs...)
}

// handlers are the HTTP listeners' handlers.
func (s *Server) handlers() (https, plain, metrics http.Handler, err error) {
	rest, err := s.rooms.api.Handler()
	if err != nil {
		return nil, nil, nil, err
	}
	t := s.metrics.traffic
	https = t.http("https", s.logger, secured(cutting(streams(s.withLedger(s.rooms.withACME(rest))))))
	plain = t.http("http", s.logger, s.relying(s.published.handler()))
	metrics = s.health.handler(s.metrics.handler())
	return https, plain, metrics, nil
}
