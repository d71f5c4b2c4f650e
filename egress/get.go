package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxHeaderBytes bounds an answer's status line and headers.
const maxHeaderBytes = 16 << 10

// Options of a Get.
type Options struct {
	// TLS is used for https, with the hop's host as server name; nil: TLS 1.2 or
	// newer, verified against the system's roots.
	TLS *tls.Config
	// UserAgent and Accept are sent as they are; empty: "certwright" and "*/*".
	UserAgent, Accept string
}

// Hop is one target that was contacted.
type Hop struct {
	Host      string
	Port      int
	Addresses []netip.Addr // tried, in order; the last is the one connected to
}

// Response is what a Get brought back.
type Response struct {
	Status    int
	Header    http.Header
	Body      []byte // at most Config.MaxBytes, as sent: never decompressed
	Truncated bool   // there may be more of the body
	URL       string // of the last hop
	Hops      []Hop  // the targets in order; at least one
}

// Get fetches rawURL with GET and follows its redirects (301, 302, 303, 307, 308).
// A status of any kind is a Response; what fails before one is an *Error.
func (c *Client) Get(ctx context.Context, rawURL string, opts Options) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var hops []Hop
	fail := func(err error) (*Response, error) {
		var e *Error
		if errors.As(err, &e) {
			e.Hops = hops
		}
		return nil, err
	}
	target, err := c.parse(rawURL)
	if err != nil {
		return fail(err)
	}
	for {
		res, hop, err := c.getOne(ctx, target, opts)
		if err != nil {
			return fail(err)
		}
		hops = append(hops, hop)
		location := res.Header.Get("Location")
		if !redirects(res.Status) || location == "" {
			res.URL, res.Hops = target.String(), hops
			return res, nil
		}
		if len(hops) > c.maxRedirects {
			return fail(&Error{
				Stage: StageHTTP, Host: hop.Host, Port: hop.Port, Addresses: hop.Addresses,
				What: fmt.Sprintf("more than %d redirects", c.maxRedirects), Hint: "let the first address answer itself",
			})
		}
		if target, err = c.redirect(target, location); err != nil {
			return fail(err)
		}
	}
}

// parse reads a target's URL and holds it to the rules for URLs.
func (c *Client) parse(raw string) (*url.URL, error) {
	bad := func(host, what, hint string) error {
		return &Error{Stage: StageURL, Host: host, What: what, Hint: hint}
	}
	u, err := url.Parse(raw)
	if err != nil || len(raw) > 4096 {
		return nil, bad("", "the URL cannot be read", "use an absolute http or https URL of at most 4096 octets")
	}
	host := hostName(u.Hostname())
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, bad(host, "the URL is neither http nor https", "use an http or https URL")
	case u.User != nil:
		return nil, bad(host, "the URL carries credentials", "use a URL without user information")
	case host == "" || u.Opaque != "":
		return nil, bad("", "the URL's host is neither a DNS name nor an IP address", "use an absolute http or https URL")
	}
	port := portOf(u)
	if !slices.Contains(c.ports, port) {
		return nil, &Error{
			Stage: StageURL, Host: host, Port: port, What: "this port is not contacted", Hint: "allowed ports: " + c.portList(),
		}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// redirect reads a Location (RFC 9110 §10.2.2) relative to where it came from.
func (c *Client) redirect(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil {
		return nil, &Error{
			Stage: StageURL, Host: hostName(from.Hostname()), Port: portOf(from), What: "a redirect to what is not a URL",
			Hint: "redirect to an http or https URL, or answer directly",
		}
	}
	target, err := c.parse(from.ResolveReference(ref).String())
	var e *Error
	if errors.As(err, &e) {
		e.What = "a redirect that is not followed: " + e.What
		if e.Host == "" {
			e.Host = hostName(from.Hostname())
		}
	}
	return target, err
}

// getOne fetches one target, without following it.
func (c *Client) getOne(ctx context.Context, target *url.URL, opts Options) (*Response, Hop, error) {
	hop := Hop{Host: hostName(target.Hostname()), Port: portOf(target)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, hop, &Error{Stage: StageURL, Host: hop.Host, Port: hop.Port, What: "the URL cannot be asked for", Hint: "check the URL"}
	}
	return c.send(ctx, req, hop, opts)
}

// send connects to the target of a request and exchanges it for its answer.
func (c *Client) send(ctx context.Context, req *http.Request, hop Hop, opts Options) (*Response, Hop, error) {
	req.Header.Set("User-Agent", orElse(opts.UserAgent, "certwright"))
	req.Header.Set("Accept", orElse(opts.Accept, "*/*"))
	req.Header.Set("Accept-Encoding", "identity")
	req.Close = true
	conn, tried, err := c.dial(ctx, hop.Host, hop.Port)
	hop.Addresses = tried
	if err != nil {
		return nil, hop, err
	}
	// Whatever happens, the connection ends before anything of the answer that is
	// left could be read.
	defer func() { _ = conn.Close() }()
	raw := conn // conn is another one below, while this may run
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if req.URL.Scheme == "https" {
		secure := tls.Client(conn, opts.tls(hop.Host))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, hop, exchangeError(ctx, hop, err)
		}
		conn = secure
	}
	res, err := c.exchange(conn, req)
	if err != nil {
		return nil, hop, exchangeError(ctx, hop, err)
	}
	return res, hop, nil
}

// errHeaders: the answer's status line and headers are too long.
var errHeaders = errors.New("egress: the headers are too long")

// maxInformational is how many 1xx answers may come before the answer.
const maxInformational = 5

// exchange sends a request and reads its answer: no more of it than may be read.
func (c *Client) exchange(conn net.Conn, req *http.Request) (*Response, error) {
	var request bytes.Buffer
	if err := req.Write(&request); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request.Bytes()); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: maxHeaderBytes}
	reader := bufio.NewReaderSize(limit, 1<<10)
	for range maxInformational {
		answer, err := http.ReadResponse(reader, req) //nolint:bodyclose // read closes it; 1xx has none (RFC 9110 §15.2)
		if err != nil && limit.N <= 0 {
			return nil, errHeaders
		}
		if err != nil {
			return nil, err
		}
		if answer.StatusCode >= 100 && answer.StatusCode < 200 && answer.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		limit.N = math.MaxInt64
		return c.read(conn, answer)
	}
	return nil, errHeaders
}

// read is what is taken of an answer. The connection is closed then.
func (c *Client) read(conn net.Conn, answer *http.Response) (*Response, error) {
	defer func() {
		_ = conn.Close() // first: closing a body reads what is left of it
		_ = answer.Body.Close()
	}()
	res := &Response{Status: answer.StatusCode, Header: answer.Header}
	if redirects(answer.StatusCode) && answer.Header.Get("Location") != "" {
		return res, nil
	}
	var err error
	if res.Body, err = io.ReadAll(io.LimitReader(answer.Body, int64(c.maxBytes))); err != nil {
		return nil, err
	}
	res.Truncated = len(res.Body) == c.maxBytes && answer.ContentLength != int64(c.maxBytes)
	return res, nil
}

// exchangeError is the *Error of a failed exchange. An error of net/http or
// crypto/tls may quote the answer, so only its kind is told, and it is not kept.
func exchangeError(ctx context.Context, hop Hop, err error) *Error {
	e := &Error{Stage: StageHTTP, Temporary: true}
	var sock net.Error
	switch {
	case ctx.Err() != nil:
		e.Stage, e.Err = StageConnect, ctx.Err()
		e.What, e.Hint = network(ctx.Err())
	case isTLS(err):
		e = handshake(err)
		e.Err = nil
	case errors.As(err, &sock), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Stage = StageConnect
		e.What, e.Hint = network(err)
	case errors.Is(err, errHeaders):
		e.What, e.Hint = fmt.Sprintf("headers of more than %d octets", maxHeaderBytes), "answer with fewer or shorter headers"
	default:
		e.What, e.Hint = "the answer is not valid HTTP/1.1", "check that a web server answers on this port"
	}
	e.Host, e.Port, e.Addresses = hop.Host, hop.Port, hop.Addresses
	return e
}

// tls is the configuration for a host.
func (o Options) tls(host string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	return cfg
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// portOf is the URL's port, or its scheme's; -1 if it cannot be read.
func portOf(u *url.URL) int {
	text := u.Port()
	switch {
	case text == "" && u.Scheme == "http":
		return 80
	case text == "" && u.Scheme == "https":
		return 443
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return -1
	}
	return int(port)
}

// hostName is the host in the form in which it is looked up and shown; "" if it is
// neither a DNS name of ASCII letters, digits, hyphens, underscores and dots nor an
// IP address.
func hostName(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return ""
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") { // inet_aton's forms of an address
		return ""
	}
	return host
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
