package acme

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// request is one request with what it has proven.
type request struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	url    string // as it must stand in the JWS
	args   []string
	place  hold // that it holds

	payload  []byte           // empty: POST-as-GET
	account  *account         // of the kid
	key      *jose.JSONWebKey // of the jwk
	evidence [32]byte         // SHA-256 of the JWS
}

// authenticate reads the JWS and verifies it (RFC 8555 §6.2–§6.5). First comes
// what costs little: form, URL, nonce; then the account, then the signature. The
// request takes its place once all of it is there, and before its nonce is used.
func (q *request) authenticate(ctx context.Context, to route) error {
	kind, params, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/jose+json" || len(params) > 0 {
		return refuse(Malformed, "the Content-Type is not application/jose+json").with(http.StatusUnsupportedMediaType)
	}
	body, err := readAll(http.MaxBytesReader(q.w, q.r.Body, jws.MaxSize), q.r.ContentLength)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return refuse(Malformed, "the request has more than %d octets", jws.MaxSize).with(http.StatusRequestEntityTooLarge)
	}
	if err != nil {
		return refuse(Malformed, "the request's body cannot be read").because(err)
	}
	if err := q.enter(to.place); err != nil {
		return err
	}
	msg, err := jws.Parse(body, jws.Request)
	if err != nil {
		return faultOf(err)
	}
	if msg.URL != q.url {
		return refuse(Unauthorized, "the URL in the JWS is not that of the request")
	}
	if err := q.server.nonces.Use(msg.Nonce); err != nil {
		return refuse(BadNonce, "%s", err)
	}
	q.payload, q.evidence = msg.Payload, sha256.Sum256(body)
	switch {
	case msg.Key != nil && to.signer == byAccount:
		return refuse(Malformed, "this request is signed by an account: \"kid\" is needed, not \"jwk\"")
	case msg.Key == nil && to.signer == byKey:
		return refuse(Malformed, "this request is signed by a new key: \"jwk\" is needed, not \"kid\"")
	case msg.Key != nil:
		return q.verifyKey(msg)
	}
	return q.verifyAccount(ctx, msg)
}

// readAll is io.ReadAll into what fits at once, if the length is known.
func readAll(body io.Reader, length int64) ([]byte, error) {
	into := bytes.NewBuffer(make([]byte, 0, max(0, min(length, jws.MaxSize))+bytes.MinRead))
	_, err := into.ReadFrom(body)
	return into.Bytes(), err
}

func (q *request) verifyKey(msg *jws.Message) error {
	if err := checkAccountKey(msg.Key); err != nil {
		return err
	}
	if err := msg.Verify(msg.Key.Key); err != nil {
		return faultOf(err)
	}
	q.key = msg.Key
	return nil
}

// checkAccountKey holds account keys to what certificates' keys are held to.
func checkAccountKey(key *jose.JSONWebKey) error {
	if err := keys.CheckPublic(key.Key); err != nil {
		f := asFault(err)
		return refuse(BadPublicKey, "%s", f.Detail).because(err)
	}
	return nil
}

// usable refuses a key that is known as compromised: it can be no account's.
func (s *Server) usable(ctx context.Context, key *jose.JSONWebKey) error {
	err := s.authority.Blocked(ctx, key.Key)
	if problem.KindOf(err) == problem.BadCSR {
		return refuse(BadPublicKey, "%s", asFault(err).Detail).because(err)
	}
	return err
}

func (q *request) verifyAccount(ctx context.Context, msg *jws.Message) error {
	none := refuse(AccountDoesNotExist, "the \"kid\" is not the URL of an account of this server")
	id, ok := strings.CutPrefix(msg.KeyID, q.server.base+"/account/")
	if !ok {
		return none
	}
	a, err := q.server.account(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return none
	}
	if err != nil {
		return storeFault(err)
	}
	if err := msg.Verify(a.key.Key); err != nil {
		return faultOf(err)
	}
	if a.Status != statusValid {
		return refuse(Unauthorized, "the account is %s", a.Status)
	}
	if err := q.identify(a.ID); err != nil {
		return err
	}
	q.account = a
	return nil
}

// decode reads the payload, an object. What is not known in it is ignored, as RFC
// 8555 §7.1.2 and others ask.
func (q *request) decode(to any) error {
	if err := jws.CheckObject(q.payload); err != nil {
		return refuse(Malformed, "the payload cannot be read: %s", err)
	}
	if err := json.Unmarshal(q.payload, to); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return refuse(Malformed, "the payload's %q is not of its type", wrong.Field)
		}
		return refuse(Malformed, "the payload cannot be read")
	}
	return nil
}

// asGet refuses a payload where POST-as-GET is due (RFC 8555 §6.3).
func (q *request) asGet() error {
	if len(q.payload) != 0 {
		return refuse(Malformed, "this resource is read by POST-as-GET: the payload must be empty")
	}
	return nil
}

// own refuses what is another account's (RFC 8555 §7.1).
func (q *request) own(account string) error {
	if account != q.account.ID {
		return refuse(Unauthorized, "this is another account's")
	}
	return nil
}

func (q *request) write(status int, kind string, body []byte) {
	q.leave()
	q.w.Header().Set("Content-Type", kind)
	q.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(body) // the peer may have gone
	}
}

func (q *request) json(status int, v any) error {
	q.write(status, "application/json", mustJSON(v))
	return nil
}

func (q *request) location(url string) { q.w.Header().Set("Location", url) }

func (q *request) link(url, rel string) {
	q.w.Header().Add("Link", "<"+url+`>;rel="`+rel+`"`)
}

// retryAfter sets Retry-After in whole seconds, rounded up.
func (q *request) retryAfter(wait time.Duration) {
	q.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// mustJSON marshals the types of this package, which always can be.
func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return body
}
