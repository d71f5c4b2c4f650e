package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

const (
	scanTimeout = 10 * time.Second
	scanAtOnce  = 8
	maxTargets  = 100_000
	maxTarget   = 262 // octets of a line: a DNS name, a port
)

// targets are the addresses to scan: those given, and those in files, one a line.
func targets(given []string, files []string) ([]string, error) {
	all := append([]string(nil), given...)
	for _, file := range files {
		data, err := readFile("--scan-list", file, maxTargets*maxTarget)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				all = append(all, line)
			}
		}
	}
	for _, each := range all {
		if host, port, err := net.SplitHostPort(each); err != nil || host == "" || port == "" {
			return nil, usagef("%.128q is not HOST:PORT", each)
		}
	}
	if len(all) > maxTargets {
		return nil, usagef("%d addresses are too many for one run: at most %d", len(all), maxTargets)
	}
	return all, nil
}

// scan takes the leaf certificate of each address. Those that show none are told by
// failed.
func scan(ctx context.Context, all []string, failed func(target string, err error)) []book.Shown {
	var mu sync.Mutex
	var shown []book.Shown
	var wait sync.WaitGroup
	slots := make(chan struct{}, scanAtOnce)
	for _, target := range all {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			s, err := leafOf(ctx, target)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed(target, err)
				return
			}
			shown = append(shown, s)
		})
	}
	wait.Wait()
	return shown
}

func leafOf(ctx context.Context, target string) (book.Shown, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	var leaf book.Shown
	host, _, _ := net.SplitHostPort(target)
	d := tls.Dialer{Config: &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true, //nolint:gosec // nothing is sent: what it shows is held against the ledger
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("it shows no certificate")
			}
			leaf = book.Shown{Where: target, Certificate: state.PeerCertificates[0]}
			return nil
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", target)
	if err == nil {
		_ = conn.Close()
	}
	if leaf.Certificate != nil {
		return leaf, nil
	}
	if err == nil {
		err = errors.New("it shows no certificate")
	}
	return leaf, fmt.Errorf("%w: %w", book.ErrUnavailable, err)
}
