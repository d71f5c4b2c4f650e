package ocsp

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Header values that all answers share; never changed.
var (
	contentType = []string{"application/ocsp-response"}
	closing     = []string{"close"}
)

// maxEncoded is the length of the longest request in a URL, in base64.
const maxEncoded = (maxRequest + 2) / 3 * 4

// buffers are what one HTTP request needs.
type buffers struct {
	encoded [maxEncoded]byte
	der     [maxEncoded / 4 * 3]byte // more than maxRequest
	req     request
}

// ServeHTTP answers POST and GET (RFC 6960 appendix A, RFC 5019 §5 and §6). In a
// GET the request may hold "/", "+", "=" and "//" as they are or
// percent-encoded, so no mux that cleans paths may stand before this handler.
// The time in which a body must arrive is the http.Server's.
func (r *Responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	start := time.Now()
	b, _ := r.buffers.Get().(*buffers)
	if b == nil {
		b = new(buffers)
	}
	defer r.buffers.Put(b)
	b.req.from = req.RemoteAddr
	var rep *reply
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		r.counters.get.Add(1)
		rep = r.get(w, req, b)
	case http.MethodPost:
		r.counters.post.Add(1)
		rep = r.post(w, req, b)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "OCSP takes GET and POST", http.StatusMethodNotAllowed)
	}
	if rep == nil {
		r.counters.refused.Add(1)
		return
	}
	r.counters.addReply(rep)
	r.write(w, req, rep)
	r.counters.addLatency(time.Since(start))
}

// get answers a GET; nil: refused by HTTP status.
func (r *Responder) get(w http.ResponseWriter, req *http.Request, b *buffers) *reply {
	text, ok := strings.CutPrefix(req.URL.Path, r.path)
	if !ok || text != "" && text[0] != '/' {
		http.NotFound(w, req)
		return nil
	}
	// No request begins with a slash in base64: these come from joined URLs.
	text = strings.TrimRight(strings.TrimLeft(text, "/"), "=")
	if len(text) > maxEncoded {
		http.Error(w, "an OCSP request has at most 4096 octets", http.StatusRequestURITooLong)
		return nil
	}
	if strings.ContainsAny(text, "\r\n") { // base64 would skip them
		return r.failures.malformed
	}
	n, err := base64.RawStdEncoding.Decode(b.der[:], b.encoded[:copy(b.encoded[:], text)])
	if err != nil {
		return r.failures.malformed
	}
	return r.answer(req.Context(), b.der[:n], &b.req)
}

// post answers a POST; nil: refused by HTTP status.
func (r *Responder) post(w http.ResponseWriter, req *http.Request, b *buffers) *reply {
	if path := req.URL.Path; path != r.path && strings.TrimRight(path, "/") != r.path {
		http.NotFound(w, req)
		return nil
	}
	refuse := func(status int, text string) *reply {
		w.Header()["Connection"] = closing // the body is not read to its end
		http.Error(w, text, status)
		return nil
	}
	switch {
	case !isRequest(req.Header):
		return refuse(http.StatusUnsupportedMediaType, "the content type is application/ocsp-request")
	case req.ContentLength > maxRequest:
		return refuse(http.StatusRequestEntityTooLarge, "an OCSP request has at most 4096 octets")
	}
	n := 0
	for n <= maxRequest {
		m, err := req.Body.Read(b.der[n : maxRequest+1])
		n += m
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return refuse(http.StatusRequestTimeout, "the request did not arrive")
			}
			return r.answer(req.Context(), b.der[:n], &b.req)
		}
	}
	return refuse(http.StatusRequestEntityTooLarge, "an OCSP request has at most 4096 octets")
}

func isRequest(h http.Header) bool {
	if len(h["Content-Encoding"]) > 0 {
		return false
	}
	values := h["Content-Type"]
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/ocsp-request" {
		return true
	}
	media, _, err := mime.ParseMediaType(values[0])
	return err == nil && media == "application/ocsp-request"
}

// write sends a reply. The header's keys are in canonical form and its values
// are shared, so that nothing is formatted here.
func (r *Responder) write(w http.ResponseWriter, req *http.Request, rep *reply) {
	h := w.Header()
	h["Cache-Control"] = rep.cacheControl
	if rep.lasting() {
		h["Etag"], h["Last-Modified"] = rep.etag, rep.modified
		h["Expires"] = r.expires.after(r.now(), rep.age)
		if req.Method != http.MethodPost && notModified(req.Header, rep) {
			r.counters.notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h["Content-Type"], h["Content-Length"] = contentType, rep.length
	_, _ = w.Write(rep.body) //nolint:gosec // DER, of its own content type; on an error the client has gone
}

// notModified tells whether the client has the reply (RFC 9110 §13.2.2). A date
// counts for good alone: what is revoked within the second of a good answer has
// the same date, while every earlier answer for what is still good was good.
func notModified(h http.Header, rep *reply) bool {
	if tags := h["If-None-Match"]; len(tags) > 0 {
		for _, list := range tags {
			for tag := range strings.SplitSeq(list, ",") {
				if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == rep.etag[0] || tag == "*" {
					return true
				}
			}
		}
		return false
	}
	since := h["If-Modified-Since"]
	if len(since) != 1 || !rep.good {
		return false
	}
	date, err := http.ParseTime(since[0])
	return err == nil && !rep.thisUpdate.After(date)
}

// clock formats the header Expires once a second.
type clock struct{ last atomic.Pointer[stamp] }

type stamp struct {
	unix  int64
	value []string
}

// after is the time age after now, in GMT.
func (c *clock) after(now time.Time, age time.Duration) []string {
	at := now.Add(age).Unix()
	if s := c.last.Load(); s != nil && s.unix == at {
		return s.value
	}
	s := &stamp{at, []string{time.Unix(at, 0).UTC().Format(http.TimeFormat)}}
	c.last.Store(s)
	return s.value
}
