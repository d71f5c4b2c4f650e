package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	neturl "net/url"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/config"
)

// maxWitnessAnswer is the most that is read of a witness's answer, in octets.
const maxWitnessAnswer = 16 << 10

// openWitnesses makes the one that asks witnesses. There may be none to ask.
func (r *rooms) openWitnesses(s *Server) (err error) {
	c := &s.options.Config
	w := witness.Config{Log: r.log, Store: r.store, Need: c.Ledger.WitnessesNeed, Now: r.now, Logger: s.logger}
	var ports []int
	for _, text := range c.Ledger.Witnesses {
		one, err := witness.Parse(text)
		if err != nil {
			return fmt.Errorf("ledger.witnesses: %w", err)
		}
		w.Witnesses = append(w.Witnesses, one)
		ports = append(ports, portOf(one.URL))
	}
	if len(w.Witnesses) > 0 {
		if w.Client, err = egress.New(egress.Config{Ports: ports, MaxBytes: maxWitnessAnswer, MaxRedirects: -1}); err != nil {
			return err
		}
		if w.TLS, err = witnessTLS(c); err != nil {
			return err
		}
	}
	r.witnesses, err = witness.New(w)
	return err
}

// portOf is the port of a URL that has been read before.
func portOf(text string) int {
	u, err := neturl.Parse(text)
	if err != nil {
		return 0
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// witnessTLS verifies the witnesses' servers; nil: with the system's roots.
func witnessTLS(c *config.Config) (*tls.Config, error) {
	if c.Ledger.WitnessesCA == "" {
		return nil, nil
	}
	path := c.Path(c.Ledger.WitnessesCA)
	data, err := plainfile.Read(path, maxSmallFile)
	if err != nil {
		return nil, fmt.Errorf("ledger.witnesses_ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("ledger.witnesses_ca: %s holds no certificate in PEM", path)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

func witnessGauges(r *rooms) gauges {
	status := func() witness.Status {
		status, _ := r.witnesses.Status()
		return status
	}
	each := func(value func(witness.State) float64) func(emit func(float64, ...string)) {
		return func(emit func(float64, ...string)) {
			for _, state := range status().Witnesses {
				emit(value(state), state.Name)
			}
		}
	}
	labels := []string{"witness"}
	return gauges{
		one(prometheus.GaugeValue, "ledger_witnessed_entries", "Entries under the newest checkpoint that as many witnesses as are needed have cosigned; 0: none since the start.",
			func() float64 { return float64(status().Witnessed.Size) }),
		read(prometheus.GaugeValue, "ledger_witness_entries", "Entries under the last checkpoint that a witness has cosigned; 0: none since the start.", labels,
			each(func(s witness.State) float64 { return float64(s.Size) })),
		read(prometheus.GaugeValue, "ledger_witness_up", "1 if a witness cosigned when it was asked last.", labels,
			each(func(s witness.State) float64 { return flag(s.Err == nil && s.Size > 0) })),
		read(prometheus.CounterValue, "ledger_witness_failures_total", "Questions to a witness that failed.", labels,
			each(func(s witness.State) float64 { return float64(s.Failures) })),
	}
}
