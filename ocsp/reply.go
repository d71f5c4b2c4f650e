package ocsp

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// maxAge is how long an HTTP cache may keep an answer.
const maxAge = time.Minute

// reply is an OCSPResponse with all that HTTP says about it. It never changes,
// and header values are shared by every answer: nobody may write to them.
type reply struct {
	body  []byte
	error byte // OCSPResponseStatus; 0: successful
	good  bool // it is lasting, and its one status is good

	counts [3]uint8 // how many CertIDs are good, revoked, unknown

	thisUpdate, nextUpdate time.Time
	warmAt                 time.Time // from here on it is signed anew if it is hot
	freshUntil             time.Time // half of its life
	usableUntil            time.Time // if it cannot be signed anew: an HTTP cache may keep it for maxAge still
	age                    time.Duration

	length, etag, modified, cacheControl []string
}

// hotHits is how often an answer must have been asked for to be hot.
const hotHits = 2

// Values of Cache-Control; never changed.
var (
	noStore = []string{"no-store"}
	minute  = []string{cacheFor(maxAge)}
)

func cacheFor(age time.Duration) string {
	return "max-age=" + strconv.Itoa(int(age/time.Second)) + ", public, no-transform, must-revalidate"
}

// newFailure is the reply of an error; nobody may keep it.
func newFailure(status byte) *reply {
	return &reply{body: failure(status), error: status, length: []string{"5"}, cacheControl: noStore}
}

// newReply is the reply with a signed body that nobody may keep.
func newReply(body []byte) *reply {
	return &reply{body: body, length: []string{strconv.Itoa(len(body))}, cacheControl: noStore}
}

// lasting tells whether the reply may be kept: good or revoked, without a nonce.
func (r *reply) lasting() bool { return r.etag != nil }

// keep lets the reply be kept, here for half of its life and by HTTP caches for
// a minute (RFC 5019 §6.2).
func (r *reply) keep(s status, thisUpdate, nextUpdate time.Time) {
	life := nextUpdate.Sub(thisUpdate)
	sum := sha256.Sum256(r.body)
	r.good = s == good
	r.thisUpdate, r.nextUpdate = thisUpdate, nextUpdate
	r.warmAt, r.freshUntil = thisUpdate.Add(life*3/8), thisUpdate.Add(life/2)
	r.age = min(maxAge, life/2)
	r.usableUntil = nextUpdate.Add(-r.age)
	r.etag = []string{`"` + hex.EncodeToString(sum[:20]) + `"`}
	r.modified = []string{thisUpdate.UTC().Format(http.TimeFormat)}
	r.cacheControl = minute
	if r.age < maxAge {
		r.cacheControl = []string{cacheFor(r.age)}
	}
}
