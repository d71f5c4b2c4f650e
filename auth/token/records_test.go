package token_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// findings are those of a verification that concern tokens.
func (f *fixture) findings(t *testing.T) string {
	t.Helper()
	var out []string
	config := ledger.VerifyConfig{Store: f.store, Records: []ledger.RecordCheck{token.CheckRecords(f.clock())}}
	if _, err := ledger.Verify(t.Context(), config, func(found storage.Finding) {
		if found.Kind == "token" || strings.Contains(found.Detail, "token") {
			out = append(out, fmt.Sprintf("%s %s", found.Subject, found.Detail))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

// TestForgedTokens: whoever writes into the database with right checksums makes
// no token, and changes none, that the ledger does not tell on.
func TestForgedTokens(t *testing.T) {
	const planted = "ffffffffffffffffffffffffffffffff"
	replace := func(was, is string) func(t *testing.T, f *fixture, id string) storage.Command {
		return func(t *testing.T, f *fixture, id string) storage.Command {
			r, err := f.store.Record(t.Context(), "token", id)
			if err != nil || !bytes.Contains(r.Body, []byte(was)) {
				t.Fatalf("%s, %v", r.Body, err)
			}
			return storage.PutRecord{
				Collection: "token", ID: id, IfVersion: r.Version, Expires: r.Expires, Body: bytes.Replace(r.Body, []byte(was), []byte(is), 1),
			}
		}
	}
	for name, test := range map[string]struct {
		forge func(t *testing.T, f *fixture, id string) storage.Command // nil: nothing
		says  string
	}{
		"nothing": {nil, ""},
		"a planted token": {func(t *testing.T, f *fixture, id string) storage.Command {
			r, err := f.store.Record(t.Context(), "token", id)
			if err != nil {
				t.Fatal(err)
			}
			return storage.PutRecord{Collection: "token", ID: planted, Body: r.Body, Expires: r.Expires}
		}, planted + " the token has a record, and no entry has made it"},
		"another secret":  {replace(`{"hash":"`, `{"hash":"AAAA`), "its hash has"},
		"another hash":    {flipHash, "not the one that entry 0 speaks of"},
		"another owner":   {replace("team-a", "team-b"), "not the one that entry 0 speaks of"},
		"another profile": {replace(`"server"`, `"client"`), "not the one that entry 0 speaks of"},
		"another name":    {replace("*.team-a.internal", "*.internal"), "not the one that entry 0 speaks of"},
		"another network": {replace("10.0.0.0/8", "0.0.0.0/0"), "not the one that entry 0 speaks of"},
		"more uses":       {replace(`"uses":1`, `"uses":9`), "not the one that entry 0 speaks of"},
		"a field more":    {replace(`{"hash"`, `{"x":1,"hash"`), "not written as a server writes it"},
		"a longer life": {func(t *testing.T, f *fixture, id string) storage.Command {
			put, _ := replace(`"uses":1`, `"uses":1`)(t, f, id).(storage.PutRecord)
			put.Expires = put.Expires.Add(time.Hour)
			return put
		}, "not written as a server writes it"},
		"deleted": {func(_ *testing.T, _ *fixture, id string) storage.Command {
			return storage.DeleteRecord{Collection: "token", ID: id, IfVersion: storage.AnyVersion}
		}, "the token was made, and its record is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			made, _ := f.make(t, spec())
			f.make(t, spec())
			if test.forge != nil {
				if _, err := f.store.Commit(t.Context(), storage.Unit{test.forge(t, f, made.ID)}); err != nil {
					t.Fatal(err)
				}
			}
			if found := f.findings(t); test.says == "" && found != "" || !strings.Contains(found, test.says) {
				t.Errorf("%q, want %q", found, test.says)
			}
		})
	}
}

func flipHash(t *testing.T, f *fixture, id string) storage.Command {
	r, err := f.store.Record(t.Context(), "token", id)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(r.Body, []byte(`"hash":"`)) + 10
	r.Body[at] = 'A' + (r.Body[at]-'A'+1)%26
	return storage.PutRecord{Collection: "token", ID: id, IfVersion: r.Version, Expires: r.Expires, Body: r.Body}
}

// TestRevocationTakenBack: a revoked token whose record is put back as it was.
func TestRevocationTakenBack(t *testing.T) {
	f := newFixture(t)
	tricky := spec()
	tricky.Owner = "team sha256=00" // an owner cannot stand in for the sum
	made, _ := f.make(t, tricky)
	before, err := f.store.Record(t.Context(), "token", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Revoke(t.Context(), made.ID, "local_socket:admin"); err != nil {
		t.Fatal(err)
	}
	if found := f.findings(t); found != "" {
		t.Error(found)
	}
	put := storage.PutRecord{Collection: "token", ID: made.ID, IfVersion: storage.AnyVersion, Body: before.Body, Expires: before.Expires}
	if _, err := f.store.Commit(t.Context(), storage.Unit{put}); err != nil {
		t.Fatal(err)
	}
	if found := f.findings(t); !strings.Contains(found, "not the one that entry 1 speaks of") {
		t.Errorf("%q", found)
	}
}

// TestIntentsOfTokens: intents by tokens that were never made, by another's grant,
// and more than a token is good for.
func TestIntentsOfTokens(t *testing.T) {
	f := newFixture(t)
	made, _ := f.make(t, spec())
	raws, err := f.store.Entries(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	action, err := entry.ParseAdminAction(e.Draft)
	if err != nil {
		t.Fatal(err)
	}
	record, err := f.store.Record(t.Context(), "token", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	check := token.CheckRecords(f.clock())
	intent := func(index uint64, actor, grant string) error {
		return check.Entry(index, entry.Entry{Draft: entry.Draft{Actor: actor}}, entry.Intent{Grant: grant})
	}
	name := "token:" + made.ID
	if intent(0, name, name) == nil || intent(0, "local_socket:admin", name) == nil {
		t.Error("before it was made")
	}
	if err := check.Entry(1, e, action); err != nil {
		t.Error(err)
	}
	if check.Entry(1, e, action) == nil {
		t.Error("made twice")
	}
	if err := intent(2, name, name); err != nil {
		t.Error(err)
	}
	if intent(3, name, "admins") == nil || intent(3, "token:0a", name) == nil || intent(3, "local_socket:admin", "admins") != nil {
		t.Error("grants and requesters are mixed up")
	}
	check.Record("token", record)
	if found := check.Findings(4); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	if err := intent(4, name, name); err != nil {
		t.Error(err)
	}
	if found := check.Findings(5); len(found) != 1 || !strings.Contains(found[0].Detail, "good for 1 certificates, and 2") {
		t.Errorf("%+v", found)
	}
	if err := check.Entry(5, entry.Entry{}, entry.Abandoned{Index: 2}); err != nil {
		t.Error(err)
	}
	if found := check.Findings(6); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

// TestCheckWhileRevoking: a verification beside a server that makes and revokes
// tokens finds nothing.
func TestCheckWhileRevoking(t *testing.T) {
	f := newFixture(t)
	ctx := context.WithoutCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for range 40 {
			made, _, err := f.Create(ctx, spec())
			if err == nil {
				_, err = f.Revoke(ctx, made.ID, "local_socket:admin")
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		if found := f.findings(t); found != "" {
			t.Error(found)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}
