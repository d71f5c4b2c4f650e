package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// fixture is sessions over a real store, with a clock that the test moves.
type fixture struct {
	*session.Sessions
	t     *testing.T
	store *bolt.Store
	mu    sync.Mutex
	now   time.Time
	still error
	asked identity.Principal // who was proven again last
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, now: time.Now()}
	var err error
	if f.store, err = bolt.Open(t.Context(), bolt.Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Sessions = session.New(session.Config{Store: f.store, Now: f.clock, Still: func(_ context.Context, p identity.Principal) (identity.Principal, error) {
		f.asked = p
		if p.Method == identity.MTLS {
			p.Claims = map[string]any{"names": []string{"ops"}}
		}
		return p, f.still
	}})
	return f
}

func jane() identity.Principal {
	return identity.Principal{
		Method: identity.OIDC, ID: "https://idp.x#jane", Evidence: [32]byte{7},
		Claims: map[string]any{"iss": "https://idp.x", "email": "jane@x.example", "groups": []any{"pki"}, "n": int64(42), "ok": true},
	}
}

func (f *fixture) open(w session.Wish) (session.Session, string) {
	f.t.Helper()
	s, text, err := f.Open(f.t.Context(), w)
	if err != nil {
		f.t.Fatal(err)
	}
	return s, text
}

func (f *fixture) ask(text string) (identity.Principal, error) {
	return f.Authenticate(f.t.Context(), auth.Credentials{Authorization: "Bearer " + text})
}

func (f *fixture) refused(name, text, reason string) {
	f.t.Helper()
	_, err := f.ask(text)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code() != reason || p.Kind != problem.Unauthenticated || p.Help == "" || len(text) > 20 && strings.Contains(err.Error(), text[10:]) {
		f.t.Errorf("%s: %v, want %s", name, err, reason)
	}
}

func TestSession(t *testing.T) {
	f := newFixture(t)
	opened, text := f.open(session.Wish{Principal: jane(), Address: "192.0.2.7"})
	if !strings.HasPrefix(text, session.Prefix) || len(text) != 68 || !opened.Expires.Equal(opened.Created.Add(time.Hour)) {
		t.Errorf("%q %+v", text, opened)
	}
	p, err := f.ask(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != jane().String() || p.Session != opened.ID || fmt.Sprint(p.Roles) != "[requester]" || p.Evidence == jane().Evidence ||
		p.Claims["n"] != int64(42) || p.Claims["ok"] != true || fmt.Sprint(p.Claims["groups"]) != "[pki]" {
		t.Errorf("%+v", p)
	}
	if _, err := f.ask("cwt_" + text[4:]); !errors.Is(err, auth.ErrNotMine) {
		t.Error(err)
	}
	other, otherText := f.open(session.Wish{Principal: jane(), Lifetime: 2 * time.Minute})
	flipped := []byte(text)
	flipped[len(flipped)-2] ^= 1
	for name, bad := range map[string]string{
		"no secret": session.Prefix, "short": text[:60], "long": text + "A", "flipped": string(flipped),
		"unknown": session.Prefix + strings.Repeat("A", 64), "the ID": session.Prefix + opened.ID,
		"another's secret": text[:26] + otherText[26:],
	} {
		f.refused(name, bad, "SESSION_INVALID")
	}
	// Expiry is exact, revocation holds at once and twice.
	f.pass(2*time.Minute - time.Millisecond)
	if _, err := f.ask(otherText); err != nil {
		t.Error(err)
	}
	f.pass(time.Millisecond)
	f.refused("expired", otherText, "SESSION_EXPIRED")
	if got, err := f.Get(t.Context(), other.ID); err != nil || got.State(f.clock()) != session.Expired {
		t.Errorf("%+v %v", got, err)
	}
	for range 2 {
		if got, err := f.Revoke(t.Context(), opened.ID, jane().String()); err != nil || got.State(f.clock()) != session.Revoked {
			t.Errorf("%+v %v", got, err)
		}
	}
	f.refused("revoked", text, "SESSION_REVOKED")
	for _, id := range []string{"", "x", strings.Repeat("0", 32)} {
		if _, err := f.Revoke(t.Context(), id, "x:y"); problem.KindOf(err) != problem.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	// Swept, it is gone.
	f.pass(48 * time.Hour)
	sweeper := auth.Sweeper{Store: f.store, Now: f.clock}
	for _, c := range session.Collections() {
		if err := sweeper.Sweep(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	f.refused("swept", text, "SESSION_INVALID")
	if page, err := f.List(t.Context(), "", nil, 10); err != nil || len(page.Sessions) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}

// TestWhatItWasOpenedWith: no session lasts longer than its certificate, and it ends
// when that, or the provider, is believed no longer.
func TestWhatItWasOpenedWith(t *testing.T) {
	f := newFixture(t)
	cert := identity.Principal{Method: identity.MTLS, ID: "aa", Evidence: [32]byte{1}, Claims: map[string]any{"names": []string{"old"}}}
	opened, text := f.open(session.Wish{Principal: cert, Until: f.clock().Add(10 * time.Minute)})
	if !opened.Expires.Equal(opened.Created.Add(10 * time.Minute)) {
		t.Errorf("%+v", opened)
	}
	if p, err := f.ask(text); err != nil || fmt.Sprint(p.Claims["names"]) != "[ops]" || p.Has(identity.RoleHolder) {
		t.Errorf("%+v %v", p, err)
	}
	// What it is believed by is kept for who proves it again.
	based := jane()
	based.Basis = [32]byte{9}
	_, basedText := f.open(session.Wish{Principal: based})
	if _, err := f.ask(basedText); err != nil || f.asked.Basis != based.Basis {
		t.Errorf("%x %v", f.asked.Basis, err)
	}
	record, err := f.store.Record(t.Context(), "session", opened.ID)
	if err != nil || strings.Contains(string(record.Body), "old") {
		t.Errorf("%s %v", record.Body, err)
	}
	f.still = problem.New(problem.Unauthenticated, "the client certificate is revoked")
	if _, err := f.ask(text); !errors.Is(err, f.still) {
		t.Error(err)
	}
	for _, lifetime := range []time.Duration{-1, time.Second, 61 * time.Minute} {
		if _, _, err := f.Open(t.Context(), session.Wish{Principal: jane(), Lifetime: lifetime}); problem.KindOf(err) != problem.Malformed {
			t.Errorf("%s: %v", lifetime, err)
		}
	}
}

// TestProofIsUsedOnce: of many that show one identity token one opens a session.
func TestProofIsUsedOnce(t *testing.T) {
	f := newFixture(t)
	once := &storage.PutRecord{Collection: "oidc-used", ID: "t", Body: []byte{1}, Expires: f.clock().Add(time.Hour)}
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, _, err := f.Open(context.WithoutCancel(t.Context()), session.Wish{Principal: jane(), Once: once})
			errs <- err
		}()
	}
	won := 0
	for range cap(errs) {
		var p *problem.Problem
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.As(err, &p) || p.Code() != "TOKEN_USED" && p.Kind != problem.Overloaded:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d sessions by one token", won)
	}
	if page, err := f.List(t.Context(), jane().String(), nil, 100); err != nil || len(page.Sessions) != 1 {
		t.Errorf("%+v %v", page, err)
	}
}

// TestNoMoreThan: one more than there may be ends the oldest, also when many are
// opened at once, and those of others are left alone.
func TestNoMoreThan(t *testing.T) {
	f := newFixture(t)
	joe := jane()
	joe.ID = "https://idp.x#joe"
	_, joes := f.open(session.Wish{Principal: joe})
	f.pass(time.Second)
	first, firstText := f.open(session.Wish{Principal: jane()})
	for range session.MaxOpen - 1 {
		f.pass(time.Second)
		f.open(session.Wish{Principal: jane()})
	}
	if _, err := f.ask(firstText); err != nil {
		t.Error(err)
	}
	f.pass(time.Second)
	f.open(session.Wish{Principal: jane()})
	f.refused("the oldest", firstText, "SESSION_REVOKED")
	if got, err := f.Get(t.Context(), first.ID); err != nil || got.Revoked.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { _, _, _ = f.Open(context.WithoutCancel(t.Context()), session.Wish{Principal: jane()}) }) // some are told to try again
	}
	all.Wait()
	page, err := f.List(t.Context(), jane().String(), nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	active := 0
	for i, s := range page.Sessions {
		if s.State(f.clock()) == session.Active {
			active++
		}
		if i > 0 && s.ID < page.Sessions[i-1].ID {
			t.Error("not newest first")
		}
	}
	if active != session.MaxOpen {
		t.Errorf("%d are open", active)
	}
	if _, err := f.ask(joes); err != nil {
		t.Error(err)
	}
	if page, err := f.List(t.Context(), "", nil, 2); err != nil || len(page.Sessions) != 2 || page.Next == nil {
		t.Errorf("%+v %v", page, err)
	}
}

// TestOpenedInALoop: ended sessions count too, for as long as they are kept.
func TestOpenedInALoop(t *testing.T) {
	f := newFixture(t)
	opened, _ := f.open(session.Wish{Principal: jane()})
	r, err := f.store.Record(t.Context(), "session", opened.ID)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Replace(r.Body, []byte(`"expires":"20`), []byte(`"expires":"19`), 1) // long ended
	sum := sha256.Sum256([]byte(jane().String()))
	var unit storage.Unit
	for i := range 999 {
		unit = append(unit, storage.PutRecord{
			Collection: "session", ID: fmt.Sprintf("%032x", i), Body: body, Expires: r.Expires,
			Indexes: []storage.RecordIndex{{Name: "principal", Value: hex.EncodeToString(sum[:])}},
		})
	}
	f.commit(unit...)
	if _, _, err := f.Open(t.Context(), session.Wish{Principal: jane()}); problem.KindOf(err) != problem.RateLimited {
		t.Error(err)
	}
	joe := jane()
	joe.ID = "https://idp.x#joe"
	f.open(session.Wish{Principal: joe})
}

// TestLedger: what is done to sessions stands in the ledger, and nothing that is a
// secret or names a person.
func TestLedger(t *testing.T) {
	f := newFixture(t)
	opened, text := f.open(session.Wish{Principal: jane(), Address: "192.0.2.7"})
	if _, err := f.Revoke(t.Context(), opened.ID, "oidc:admin"); err != nil {
		t.Fatal(err)
	}
	raws, err := f.store.Entries(t.Context(), 0, 10)
	if err != nil || len(raws) != 2 {
		t.Fatalf("%d entries, %v", len(raws), err)
	}
	for i, want := range []struct{ actor, action string }{{jane().String(), "session.opened"}, {"oidc:admin", "session.revoked"}} {
		e, err := entry.Parse(raws[i])
		if err != nil {
			t.Fatal(err)
		}
		action, err := entry.ParseAdminAction(e.Draft)
		if err != nil || e.Actor != want.actor || action.Action != want.action || action.Target != opened.ID {
			t.Errorf("%+v %+v %v", e, action, err)
		}
		for _, canary := range []string{text, text[4:], text[26:], "jane@x.example", "192.0.2.7", "pki"} {
			if strings.Contains(string(raws[i]), canary) {
				t.Errorf("entry %d holds %q", i, canary)
			}
		}
	}
	record, err := f.store.Record(t.Context(), "session", opened.ID)
	if err != nil || strings.Contains(string(record.Body), text[26:]) {
		t.Errorf("%v", err)
	}
}

// TestForgedSessions: whoever writes into the database with right checksums opens
// no session, and changes none, that the ledger does not tell on.
func TestForgedSessions(t *testing.T) {
	for name, test := range map[string]struct {
		forge func(r *storage.PutRecord)
		says  string
	}{
		"nothing":        {nil, ""},
		"planted":        {func(r *storage.PutRecord) { r.ID = strings.Repeat("f", 32); r.IfVersion = 0 }, "no entry has opened it"},
		"another person": {func(r *storage.PutRecord) { r.Body = []byte(strings.Replace(string(r.Body), "#jane", "#mary", 1)) }, "not the one that entry 0 speaks of"},
		"another group":  {func(r *storage.PutRecord) { r.Body = []byte(strings.Replace(string(r.Body), `"pki"`, `"all"`, 1)) }, "not the one that entry 0 speaks of"},
		"a field more":   {func(r *storage.PutRecord) { r.Body = []byte(`{"x":1,` + string(r.Body[1:])) }, "not written as a server writes it"},
		"a longer life":  {func(r *storage.PutRecord) { r.Expires = r.Expires.Add(time.Hour) }, "not written as a server writes it"},
	} {
		f := newFixture(t)
		opened, _ := f.open(session.Wish{Principal: jane()})
		revoked, _ := f.open(session.Wish{Principal: jane()})
		before, err := f.store.Record(t.Context(), "session", revoked.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Revoke(t.Context(), revoked.ID, "x:y"); err != nil {
			t.Fatal(err)
		}
		if test.forge != nil {
			r, err := f.store.Record(t.Context(), "session", opened.ID)
			if err != nil {
				t.Fatal(err)
			}
			put := storage.PutRecord{Collection: "session", ID: r.ID, IfVersion: r.Version, Body: r.Body, Expires: r.Expires}
			test.forge(&put)
			f.commit(put)
		}
		if found := f.findings(); test.says == "" && found != "" || !strings.Contains(found, test.says) {
			t.Errorf("%s: %q, want %q", name, found, test.says)
		}
		f.commit(storage.PutRecord{Collection: "session", ID: revoked.ID, IfVersion: storage.AnyVersion, Body: before.Body, Expires: before.Expires})
		if found := f.findings(); !strings.Contains(found, "not the one that entry 2 speaks of") {
			t.Errorf("%s: a revocation taken back: %q", name, found)
		}
	}
}

func (f *fixture) commit(c ...storage.Command) {
	f.t.Helper()
	if _, err := f.store.Commit(f.t.Context(), c); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) findings() string {
	f.t.Helper()
	var out []string
	if _, err := ledger.Verify(f.t.Context(), ledger.VerifyConfig{Store: f.store, Records: []ledger.RecordCheck{session.CheckRecords()}}, func(found storage.Finding) {
		if found.Kind == "session" {
			out = append(out, found.Subject+" "+found.Detail)
		}
	}); err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func TestEndAll(t *testing.T) {
	f := newFixture(t)
	_, text := f.open(session.Wish{Principal: jane()})
	commands, err := session.EndAll(t.Context(), f.store)
	if err != nil {
		t.Fatal(err)
	}
	f.commit(commands...)
	f.refused("ended", text, "SESSION_INVALID")
	if found := f.findings(); found != "" {
		t.Error(found)
	}
}
