package server

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/server/setup"
)

// announce tells a person who starts a development CA where everything is and
// what to do next.
func (s *Server) announce() {
	c := &s.options.Config
	if !c.Dev || s.options.Out == nil {
		return
	}
	a := s.Addresses()
	var b strings.Builder
	fmt.Fprintf(&b, "\nCertwright %s: a development CA. Its keys are not encrypted; for production see \"certwright init\".\n\n", s.options.Version)
	for _, line := range []struct{ name, text string }{
		{"root", filepath.Join(c.Data, datadir.RootCert)},
		{"", setup.Fingerprint(s.root)},
		{"https", c.HTTPSBase(a.HTTPS)},
		{"grpc", a.GRPC},
		{"http", c.HTTPBase(a.HTTP)},
		{"metrics", url("http", a.Metrics, "/metrics")},
		{"socket", a.Socket},
		{"policy", c.Path(c.Policy)},
	} {
		if line.text != "" {
			fmt.Fprintf(&b, "  %-8s %s\n", line.name, line.text)
		}
	}
	next := s.options.Program + " cert issue svc.internal"
	if filepath.Clean(c.Data) != filepath.Clean(config.Default().Data) {
		next += " --data " + quoteShell(c.Data)
	}
	fmt.Fprintf(&b, "\nNext, in another terminal:\n\n  %s\n\n", next)
	_, _ = fmt.Fprint(s.options.Out, b.String()) // a closed terminal is no reason to stop
}

func url(scheme, address, path string) string {
	if address == "" {
		return ""
	}
	return scheme + "://" + address + path
}

// quoteShell quotes a path that a shell would not take as one word.
func quoteShell(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
