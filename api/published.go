package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
)

// PublishedPrefix is where the published ledger is: C2SP tlog-tiles' prefix.
const PublishedPrefix = "/ledger/"

// How many files of the published ledger may be on their way at once, in all and to
// one address: none of them takes an API call's place, and nobody all of the others'.
const (
	publishedRequests = 64
	publishedShare    = 16
)

// The times for which a file may be kept. Tiles never change; a partial one is soon
// of no use.
const (
	keepFull    = "max-age=31536000, immutable"
	keepPartial = "max-age=3600"
	keepNothing = "no-cache"
)

// readers may read the published ledger where it is not open.
func readers() access {
	return access{roles: []identity.Role{identity.RoleReader, identity.RoleAuditor, identity.RoleAdmin}}
}

// Published serves the ledger's files under PublishedPrefix (C2SP tlog-tiles). Open:
// to everybody; else to those with the role reader, auditor or ca-admin, judged by the same
// chain as REST calls.
func (s *Server) Published(open bool) http.Handler {
	return &published{server: s, open: open, room: s.places.files}
}

type published struct {
	server *Server
	open   bool
	room   *room // a source has a share of it
}

// enter takes a place for a source until leave is called; there may be none.
func (p *published) enter(source string) (leave func(), err error) {
	if err := p.room.take(source); err != nil {
		return nil, err
	}
	return func() { p.room.give(source) }, nil
}

// sourceOf is whom a request counts for: its address; of IPv6 the network of 64 bits,
// which is one machine's.
func sourceOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	address := at.Addr().Unmap().WithZone("")
	if !address.Is6() {
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}

// ServeHTTP implements http.Handler.
func (p *published) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := p.server
	c := &call{requestID: newRequestID(), rest: true}
	securityHeaders(w.Header(), c.requestID)
	ctx := withCall(r.Context(), c)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuseVerb(ctx, w, []string{http.MethodGet, http.MethodHead})
		return
	}
	s.counters.calls.Add(1)
	err := p.admit(ctx, c, r)
	var data []byte
	path := strings.TrimPrefix(r.URL.Path, PublishedPrefix)
	if err == nil {
		var leave func()
		if leave, err = p.enter(sourceOf(r.RemoteAddr)); err == nil {
			defer leave()
			data, err = s.files.File(ctx, path)
		}
	}
	if err != nil {
		s.refuse(ctx, w, 0, s.fail(ctx, r.Method+" "+PublishedPrefix, c, err))
		return
	}
	p.answer(w, r, path, data)
}

// admit authenticates and authorizes by what the headers say.
func (p *published) admit(ctx context.Context, c *call, r *http.Request) (err error) {
	if p.open {
		return nil
	}
	if c.credentials, err = restCredentials(r); err != nil {
		return err
	}
	if c.credentials.Empty() {
		return withHelp(unauthenticated("NO_CREDENTIALS", "the ledger's entries name internal hosts: they are not shown to everybody"))
	}
	if c.principal, err = p.server.authenticate(ctx, c.credentials); err != nil {
		return err
	}
	if _, err := readers().view("GET "+PublishedPrefix, c.principal); err != nil {
		return withHelp(&problem.Problem{
			Kind: problem.PermissionDenied, Rule: "GET " + PublishedPrefix, Value: c.principal.String(),
			Detail:  "these credentials may not read the ledger: its entries name internal hosts",
			Allowed: readers().needed() + ", without a limit", Err: err,
		})
	}
	return nil
}

// withHelp says what a reader of the ledger needs.
func withHelp(p *problem.Problem) *problem.Problem {
	p.Help = "Send an auditor's token (ledger.auditor_tokens) as Authorization: Bearer …; on the server's machine \"certwright ledger export\" writes the same files."
	return p
}

// answer writes a file with what caches may do with it.
func (p *published) answer(w http.ResponseWriter, r *http.Request, path string, data []byte) {
	h := w.Header()
	kind, keep := "text/plain; charset=utf-8", keepNothing
	if tile, err := layout.ParsePath(path); err == nil {
		kind, keep = "application/octet-stream", keepPartial
		if tile.Width == merkle.TileWidth {
			keep = keepFull
		}
		if p.open {
			keep = "public, " + keep
		} else {
			keep = "private, " + keep
		}
		if tile.Level == layout.Entries {
			h.Set("Vary", "Accept-Encoding")
			if acceptsGzip(r.Header.Get("Accept-Encoding")) {
				h.Set("Content-Encoding", "gzip")
				data = compressed(data)
			}
		}
	}
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", keep)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) //nolint:gosec // no page: its type is text or octets, and nosniff holds it; the peer may have gone
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110 §12.5.3) as far as gzip goes.
func acceptsGzip(header string) bool {
	for each := range strings.SplitSeq(header, ",") {
		name, quality, _ := strings.Cut(each, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.Trim(strings.TrimSpace(quality), "0.") != "q="
		}
	}
	return false
}

func compressed(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, _ = w.Write(data) // a Buffer takes everything
		_ = w.Close()
	}
	return b.Bytes()
}
