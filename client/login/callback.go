package login

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
)

// callbackPath is where the browser is sent back to, and the only path there is.
const callbackPath = "/callback"

// The bounds of an answer.
const (
	maxQuery = 16 << 10
	maxCode  = 8 << 10
)

// waiter is the listener on this machine: it takes the one answer that belongs to
// the login, and leaves everything else to whoever sent it.
type waiter struct {
	host        string // 127.0.0.1:PORT, as the browser must name it
	state       string
	issuer      string
	namesItself bool
	taken       atomic.Bool
	answer      chan answer
}

// answer is the provider's to the login.
type answer struct {
	code string
	err  error
}

func newWaiter(host, state, issuer string, namesItself bool) *waiter {
	return &waiter{host: host, state: state, issuer: issuer, namesItself: namesItself, answer: make(chan answer, 1)}
}

// errNotOurs is an answer to another login, or none: the login goes on waiting.
var errNotOurs = errors.New("this is not the answer to the login that was begun")

// ServeHTTP implements http.Handler. The Host header must be the listener's own:
// a name that leads here (DNS rebinding) is a stranger's.
func (w *waiter) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	tell := func(status int, text string) {
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(text + "\n")) // the browser may have gone
	}
	switch {
	case r.Host != w.host:
		tell(http.StatusMisdirectedRequest, "This is not the host that the login was begun with.")
		return
	case r.URL.Path != callbackPath:
		tell(http.StatusNotFound, "There is nothing here.")
		return
	case r.Method != http.MethodGet:
		h.Set("Allow", http.MethodGet)
		tell(http.StatusMethodNotAllowed, "The answer comes by GET.")
		return
	}
	code, err := w.parse(r.URL.RawQuery)
	switch {
	case errors.Is(err, errNotOurs):
		tell(http.StatusBadRequest, "This is not the answer to the login that was begun. Nothing has happened.")
		return
	case !w.taken.CompareAndSwap(false, true):
		tell(http.StatusGone, "This login is over. Begin another with certwright login.")
		return
	}
	w.answer <- answer{code, err}
	if err != nil {
		tell(http.StatusForbidden, "The login has failed; certwright says why. You may close this window.")
		return
	}
	tell(http.StatusOK, "You are logged in when certwright says so. You may close this window.")
}

// parse reads the query of an answer (RFC 6749 §4.1.2, RFC 9207 §2). What has not
// this login's state is errNotOurs, whatever else it says.
func (w *waiter) parse(raw string) (string, error) {
	if len(raw) > maxQuery {
		return "", errNotOurs
	}
	q, err := url.ParseQuery(raw)
	if err != nil || len(q["state"]) != 1 || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(w.state)) != 1 {
		return "", errNotOurs
	}
	for _, name := range []string{"code", "error", "error_description", "iss"} {
		if len(q[name]) > 1 {
			return "", errors.New("the identity provider's answer says " + name + " twice")
		}
	}
	code := q.Get("code")
	switch {
	case q.Has("iss") && q.Get("iss") != w.issuer, !q.Has("iss") && w.namesItself:
		return "", errors.New("the answer is of another identity provider than the one that was asked")
	case q.Get("error") != "":
		return "", refused(q.Get("error"), q.Get("error_description"))
	case code == "" || len(code) > maxCode:
		return "", errors.New("the identity provider's answer has no code")
	}
	return code, nil
}
