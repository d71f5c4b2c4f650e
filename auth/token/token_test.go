package token_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// fixture is tokens over a real store, with a clock that the test moves.
type fixture struct {
	*token.Tokens
	store *bolt.Store
	mu    sync.Mutex
	now   time.Time
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

func newFixture(t testing.TB) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{store: store, now: time.Now()}
	f.Tokens = token.New(token.Config{Store: store, Now: f.clock, Check: func(b identity.Bound) error {
		if b.Profiles[0] != "server" {
			return problem.New(problem.Malformed, "there is no profile %q", b.Profiles[0])
		}
		return nil
	}})
	return f
}

func spec() token.Spec {
	return token.Spec{
		Owner: "team-a", Profiles: []string{"server"}, TTL: time.Hour, Creator: "local_socket:admin",
		Names: identity.Names{DNS: []string{"*.team-a.internal"}, IP: []string{"10.0.0.0/8"}, Email: []string{"ops@team-a.internal"}},
	}
}

func (f *fixture) make(t testing.TB, s token.Spec) (token.Token, string) {
	t.Helper()
	made, secret, err := f.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return made, secret
}

func TestCreateAndVerify(t *testing.T) {
	f := newFixture(t)
	made, secret := f.make(t, spec())
	if !strings.HasPrefix(secret, token.Prefix) || len(secret) != 68 || made.Uses != 1 {
		t.Errorf("%q, %+v", secret, made)
	}
	p, err := f.Authenticate(t.Context(), auth.Credentials{Authorization: "Bearer " + secret})
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != "token:"+made.ID || !p.Has(identity.RoleRequester) || p.Has(identity.RoleAdmin) ||
		p.Bound == nil || p.Bound.Owner != "team-a" || p.Bound.Allow.DNS[0] != "*.team-a.internal" || p.Evidence == ([32]byte{}) {
		t.Errorf("%+v", p)
	}
}

func TestTheLedgerKnowsAndTellsNoSecret(t *testing.T) {
	f := newFixture(t)
	made, secret := f.make(t, spec())
	if _, err := f.Revoke(t.Context(), made.ID, "local_socket:admin"); err != nil {
		t.Fatal(err)
	}
	raws, err := f.store.Entries(t.Context(), 0, 10)
	if err != nil || len(raws) != 2 {
		t.Fatalf("%d entries, %v", len(raws), err)
	}
	for i, want := range []string{"token.created", "token.revoked"} {
		e, err := entry.Parse(raws[i])
		if err != nil {
			t.Fatal(err)
		}
		action, err := entry.ParseAdminAction(e.Draft)
		if err != nil || action.Action != want || action.Target != made.ID || e.Actor != "local_socket:admin" {
			t.Errorf("%+v, %v", action, err)
		}
		for _, secretText := range []string{secret, secret[4:], secret[30:], "ops@team-a.internal", "10.0.0.0"} {
			if strings.Contains(string(raws[i]), secretText) {
				t.Errorf("entry %d holds %q", i, secretText)
			}
		}
		for _, commitment := range action.Commitments {
			value, salt, err := f.store.Erasable(t.Context(), commitment)
			if err != nil || entry.Commit(salt, value) != commitment {
				t.Errorf("%q, %v", value, err)
			}
		}
	}
	record, err := f.store.Record(t.Context(), "token", made.ID)
	if err != nil || strings.Contains(string(record.Body), secret[26:]) {
		t.Errorf("%s, %v", record.Body, err)
	}
}

// mustVerify has a token verified: what was good once is not good for ever.
func (f *fixture) mustVerify(t *testing.T, secret string) {
	t.Helper()
	if _, err := f.Verify(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	f := newFixture(t)
	expired, expiredSecret := f.make(t, spec())
	f.mustVerify(t, expiredSecret)
	f.pass(time.Hour)
	revoked, revokedSecret := f.make(t, spec())
	f.mustVerify(t, revokedSecret)
	if _, err := f.Revoke(t.Context(), revoked.ID, "x:y"); err != nil {
		t.Fatal(err)
	}
	good, goodSecret := f.make(t, spec())
	flipped := []byte(goodSecret)
	flipped[60] ^= 1
	foreign := goodSecret[:4] + expiredSecret[4:25] + goodSecret[25:]
	for name, test := range map[string]struct{ secret, reason string }{
		"expired":           {expiredSecret, "TOKEN_EXPIRED"},
		"revoked":           {revokedSecret, "TOKEN_REVOKED"},
		"one bit":           {string(flipped), "TOKEN_INVALID"},
		"another's ID":      {foreign, "TOKEN_INVALID"},
		"short":             {goodSecret[:67], "TOKEN_INVALID"},
		"long":              {goodSecret + "A", "TOKEN_INVALID"},
		"padded":            {goodSecret + "=", "TOKEN_INVALID"},
		"with a line end":   {goodSecret[:67] + "\n", "TOKEN_INVALID"},
		"unknown":           {token.Prefix + strings.Repeat("A", 64), "TOKEN_INVALID"},
		"without a prefix":  {goodSecret[4:], "TOKEN_INVALID"},
		"prefix twice":      {token.Prefix + goodSecret, "TOKEN_INVALID"},
		"nothing":           {"", "TOKEN_INVALID"},
		"the ID, no secret": {token.Prefix + good.ID, "TOKEN_INVALID"},
	} {
		_, err := f.Verify(t.Context(), test.secret)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Unauthenticated || p.Code() != test.reason {
			t.Errorf("%s: %v", name, err)
		}
		if len(test.secret) > 20 && strings.Contains(err.Error(), test.secret[10:]) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	if got, err := f.Get(t.Context(), expired.ID); err != nil || got.State(f.clock()) != token.Expired {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.Authenticate(t.Context(), auth.Credentials{Authorization: "Bearer ey.ab.cd"}); !errors.Is(err, auth.ErrNotMine) {
		t.Error(err)
	}
}

func TestSpecs(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(*token.Spec){
		"no owner":         func(s *token.Spec) { s.Owner = "" },
		"long owner":       func(s *token.Spec) { s.Owner = strings.Repeat("o", 129) },
		"control in owner": func(s *token.Spec) { s.Owner = "a\nb" },
		"no profile":       func(s *token.Spec) { s.Profiles = nil },
		"unknown profile":  func(s *token.Spec) { s.Profiles = []string{"nothing"} },
		"no names":         func(s *token.Spec) { s.Names = identity.Names{} },
		"template":         func(s *token.Spec) { s.Names.DNS = []string{"{claims.x}.internal"} },
		"empty pattern":    func(s *token.Spec) { s.Names.DNS = []string{""} },
		"short":            func(s *token.Spec) { s.TTL = time.Second },
		"long":             func(s *token.Spec) { s.TTL = 31 * 24 * time.Hour },
		"negative":         func(s *token.Spec) { s.TTL = -time.Hour },
		"uses":             func(s *token.Spec) { s.Uses = 10001 },
		"many patterns":    func(s *token.Spec) { s.Names.DNS = strings.Split(strings.Repeat("a.b,", 50)+numbered(101), ",") },
	} {
		s := spec()
		change(&s)
		if _, _, err := f.Create(t.Context(), s); problem.KindOf(err) != problem.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if head, err := f.store.Head(t.Context()); err != nil || head.Size != 0 {
		t.Errorf("%d entries, %v", head.Size, err)
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("," + strings.Repeat("n", i+1))
	}
	return b.String()[1:]
}

func TestCreateIsIdempotent(t *testing.T) {
	f := newFixture(t)
	s := spec()
	s.RequestID = "one"
	first, secret := f.make(t, s)
	again, none, err := f.Create(t.Context(), s)
	if err != nil || again.ID != first.ID || secret == "" || none != "" {
		t.Errorf("%+v, %q, %v", again, none, err)
	}
	s.Uses = 2
	if _, _, err := f.Create(t.Context(), s); problem.KindOf(err) != problem.Conflict {
		t.Error(err)
	}
	s.Creator = "local_socket:other"
	if other, _, err := f.Create(t.Context(), s); err != nil || other.ID == first.ID {
		t.Errorf("%+v, %v", other, err)
	}
	// Many at once make one.
	s.RequestID = "two"
	var wg sync.WaitGroup
	var mu sync.Mutex
	secrets, ids := 0, map[string]bool{}
	for range 16 {
		wg.Go(func() {
			made, secret, err := f.Create(t.Context(), s)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if secret != "" {
				secrets++
			}
			ids[made.ID] = true
		})
	}
	wg.Wait()
	if secrets != 1 || len(ids) != 1 {
		t.Errorf("%d secrets, %d tokens", secrets, len(ids))
	}
}

func TestUse(t *testing.T) {
	f := newFixture(t)
	s := spec()
	s.Uses = 2
	made, secret := f.make(t, s)
	p, err := f.Verify(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	reserve := func(key byte) (token.Commands, error) {
		use, err := f.Use(t.Context(), p, [32]byte{key})
		if err != nil {
			return use, err
		}
		_, err = f.store.Commit(t.Context(), use.Reserve)
		return use, err
	}
	first, err := reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(1); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	if _, err := reserve(2); err != nil {
		t.Error(err)
	}
	if _, err := reserve(3); !errors.Is(err, storage.ErrTokenSpent) {
		t.Error(err)
	}
	if err := f.Available(t.Context(), p); problem.KindOf(err) != problem.PermissionDenied {
		t.Error(err)
	}
	if _, err := f.store.Commit(t.Context(), first.Abandon); err != nil {
		t.Fatal(err)
	}
	late, err := f.Use(t.Context(), p, [32]byte{4})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Revoke(t.Context(), made.ID, "x:y"); err != nil || got.State(f.clock()) != token.Revoked || got.Used != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.store.Commit(t.Context(), late.Reserve); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("a use that began before the revocation: %v", err)
	}
	if again, err := f.Revoke(t.Context(), made.ID, "x:y"); err != nil || again.Revoked.IsZero() {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestListIsNewestFirst(t *testing.T) {
	f := newFixture(t)
	var want []string
	for range 5 {
		made, _ := f.make(t, spec())
		want = append([]string{made.ID}, want...)
		f.pass(time.Second)
	}
	var got []string
	for after := []byte(nil); ; {
		page, err := f.List(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Tokens {
			got = append(got, one.ID)
		}
		if after = page.Next; after == nil {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := f.Get(t.Context(), "../x"); problem.KindOf(err) != problem.NotFound {
		t.Error(err)
	}
}
