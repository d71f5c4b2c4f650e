package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/witness"
	"github.com/certwright/certwright/merkle/cosign"
)

// witnessing is a run of witness.
type witnessing struct {
	*app
	listen, keyFile, state string
	logs                   []string
	certificate, tlsKey    string
}

func witnessCommand(a *app) *cobra.Command {
	w := &witnessing{app: a}
	cmd := &cobra.Command{
		Use: "witness [flags]", Short: "Be a witness for logs (C2SP tlog-witness)", DisableFlagsInUseLine: true,
		Long: `Listens for add-checkpoint (C2SP tlog-witness), and cosigns a log's checkpoint if it
contains the one that was cosigned before. Any log of that protocol can use it, not
only Certwright's. A new epoch of a ledger is a new log to it, which begins at size
0: name its verifier key with another --log, and keep that of the epoch before.

Its memory, --state, holds the last checkpoint of each log: a witness that has lost it
can be shown another past, so keep it, and never put back an older copy.`,
		Example: `  certwright-audit witness --listen 127.0.0.1:8460 --key witness.key --log ledger.vkey --state ./witness
  certwright-audit witness --listen :8460 --key witness.key --log ledger.vkey --tls-cert w.crt --tls-key w.key`,
		Annotations: map[string]string{"next": "certwright-audit keygen --help"},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return w.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&w.listen, "listen", "127.0.0.1:8460", "HOST:PORT to listen on")
	flags.StringVar(&w.keyFile, "key", "", "file with the witness's private key, from \"certwright-audit keygen\"")
	flags.StringArrayVar(&w.logs, "log", nil, "verifier key of a log to witness, or a file with several; may be repeated")
	flags.StringVar(&w.state, "state", "./certwright-witness", "folder of the last checkpoints; it is made if it is not there")
	flags.StringVar(&w.certificate, "tls-cert", "", "file with the TLS certificate and its chain, PEM (default: plain HTTP)")
	flags.StringVar(&w.tlsKey, "tls-key", "", "file with the TLS certificate's key, PEM")
	for _, name := range []string{"key", "tls-cert", "tls-key"} {
		_ = cmd.MarkFlagFilename(name)
	}
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

func (w *witnessing) run(ctx context.Context) error {
	if w.keyFile == "" || len(w.logs) == 0 {
		return usagef("--key and --log are needed: who witnesses, and whom")
	}
	if (w.certificate == "") != (w.tlsKey == "") {
		return usagef("--tls-cert and --tls-key go together")
	}
	if _, port, err := net.SplitHostPort(w.listen); err != nil || port == "" {
		return usagef("--listen %.64q is no HOST:PORT, such as 127.0.0.1:8460", w.listen)
	}
	data, err := readFile("--key", w.keyFile, maxInput)
	if err != nil {
		return err
	}
	private := strings.TrimSpace(string(data))
	signer, err := cosign.NewSigner(private)
	if err != nil {
		return usagef("%s: %w", w.keyFile, err)
	}
	vkey, err := cosign.VerifierKey(private)
	if err != nil {
		return usagef("%s: %w", w.keyFile, err)
	}
	logs, err := readKeys("--log", w.logs, book.ParseKey)
	if err != nil {
		return err
	}
	server := &http.Server{ReadTimeout: 15 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	if server.TLSConfig, err = w.tlsConfig(); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(w.err, nil))
	handler, err := witness.Open(witness.Config{Signer: signer, Logs: logs, Dir: w.state, Logger: logger})
	if err != nil {
		return err
	}
	defer handler.Close() //nolint:errcheck // it holds a lock alone
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.listen)
	if err != nil {
		return explainListen(err, w.listen)
	}
	server.Handler = handler
	_, _ = fmt.Fprintf(w.out, "witness %s listens on %s; its verifier key is %s\n", signer.Name(), listener.Addr(), vkey)
	return w.serve(ctx, server, listener)
}

// tlsConfig has the witness's certificate; it is nil for plain HTTP.
func (w *witnessing) tlsConfig() (*tls.Config, error) {
	if w.certificate == "" {
		return nil, nil
	}
	chain, err := readFile("--tls-cert", w.certificate, maxInput)
	if err != nil {
		return nil, err
	}
	key, err := readFile("--tls-key", w.tlsKey, maxInput)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, usagef("%s and %s are no certificate with its key: %w", w.certificate, w.tlsKey, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// explainListen says in one line what to do.
func explainListen(err error, address string) error {
	var lookup *net.DNSError
	var port *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return failf(exitUnavailable, "%s is in use: stop what listens there, or choose another address with --listen HOST:PORT", address)
	case errors.Is(err, fs.ErrPermission):
		return failf(exitFailure, "no permission to listen on %s: choose a port from 1024 on with --listen HOST:PORT", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failf(exitUnavailable, "%s is no address of this machine: choose another with --listen HOST:PORT", address)
	case errors.As(err, &lookup) && lookup.IsNotFound, errors.As(err, &port):
		return usagef("--listen %.64q: no such host or port", address)
	}
	return failf(exitUnavailable, "cannot listen on %s (--listen): %w", address, err)
}

// serve serves until ctx ends; what is being answered is answered.
func (w *witnessing) serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(end)
	})
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

func keygenCommand(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen NAME [flags]", Short: "Make a witness's key", DisableFlagsInUseLine: true,
		Long: `Makes an Ed25519 key for a witness: NAME is a URL without a scheme that tells who it
is, without spaces and "+". The private key goes into a file that must not be there
yet; the verifier key, for those that rely on the witness, to standard output.`,
		Example: `  certwright-audit keygen witness.example/w1 --out witness.key
  certwright-audit keygen witness.example/w1 --out /etc/certwright/witness.key > witness.vkey`,
		Annotations: map[string]string{"next": "certwright-audit witness --help"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s needs a NAME; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return keygen(a, args[0], out) },
	}
	cmd.Flags().StringVar(&out, "out", "witness.key", "file for the private key")
	_ = cmd.MarkFlagFilename("out")
	return cmd
}

func keygen(a *app, name, out string) error {
	skey, vkey, err := cosign.GenerateKey(name)
	if err != nil {
		return usagef("%w", err)
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return failf(6, "%s is there already: a witness's key is not replaced", out)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(skey + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	a.note("The private key is in %s; this is the verifier key:", filepath.Clean(out))
	_, err = fmt.Fprintln(a.out, vkey)
	return err
}
