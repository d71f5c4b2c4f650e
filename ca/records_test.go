package ca

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// policyFindings are those of a verification that concern policies.
func policyFindings(t *testing.T, w *world) []storage.Finding {
	t.Helper()
	var out []storage.Finding
	config := ledger.VerifyConfig{Store: w.store, Records: []ledger.RecordCheck{CheckPolicies()}}
	if _, err := ledger.Verify(t.Context(), config, func(f storage.Finding) {
		if f.Kind == "policy" || strings.Contains(f.Detail, "decided by") {
			out = append(out, f)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// forge changes a record behind the store's back, with a right checksum; nil
// deletes it.
func (w *world) forge(t *testing.T, collection, id string, change func(body []byte) []byte) {
	t.Helper()
	_ = w.store.Close() // closed already by the change before
	db, err := bbolt.Open(w.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(collection + "\x00" + id)
	if err := db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("record"))
		sealed := bytes.Clone(b.Get(key))
		at := bytes.IndexByte(sealed, '{')
		body := change(sealed[at : len(sealed)-4])
		if body == nil {
			return b.Delete(key)
		}
		value := append(sealed[:at:at], body...)
		sum := crc32.Checksum(append(bytes.Clone(key), value...), crc32.MakeTable(crc32.Castagnoli))
		return b.Put(key, binary.BigEndian.AppendUint32(value, sum))
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestForgedPolicies: records with right checksums that the ledger does not know
// of stop the start, and a verification names them.
func TestForgedPolicies(t *testing.T) {
	lax := []byte(strings.Replace(testPolicy, ".internal", ".example", 1))
	hash := sha256.Sum256(lax)
	edit := func(change func(v map[string]any)) func([]byte) []byte {
		return func(body []byte) []byte {
			var v versionRecord
			var a activeRecord
			fields := map[string]any{}
			if err := json.Unmarshal(body, &fields); err != nil {
				return nil
			}
			change(fields)
			again, _ := json.Marshal(fields)
			if _, ok := fields["document"]; ok {
				_ = json.Unmarshal(again, &v)
				again, _ = json.Marshal(v)
			} else {
				_ = json.Unmarshal(again, &a)
				again, _ = json.Marshal(a)
			}
			return again
		}
	}
	for name, test := range map[string]struct {
		forge  func(t *testing.T, w *world)
		starts bool
		says   string
	}{
		"nothing": {func(*testing.T, *world) {}, true, ""},
		"the document in force": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(2), edit(func(v map[string]any) { v["document"], v["hash"] = lax, hex.EncodeToString(hash[:]) }))
			w.forge(t, activeCollection, activeID, edit(func(v map[string]any) { v["hash"] = hex.EncodeToString(hash[:]) }))
		}, false, "policy version 2 is recorded as"},
		"an older policy in force": {func(t *testing.T, w *world) {
			first := sha256.Sum256([]byte(testPolicy))
			w.forge(t, activeCollection, activeID, edit(func(v map[string]any) { v["hash"], v["number"] = hex.EncodeToString(first[:]), 1 }))
		}, false, "after it"},
		"a version of history": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(1), edit(func(v map[string]any) { v["document"], v["hash"] = lax, hex.EncodeToString(hash[:]) }))
		}, true, "policy version 1 is recorded as"},
		"its document alone": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(1), edit(func(v map[string]any) { v["document"] = lax }))
		}, true, "its document has the SHA-256"},
		"who activated it": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(1), edit(func(v map[string]any) { v["actor"] = "local_socket:mallory" }))
		}, true, "activated by local_socket:mallory"},
		"a version deleted": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(1), func([]byte) []byte { return nil })
		}, true, "its record is missing"},
		"a field more": {func(t *testing.T, w *world) {
			w.forge(t, versionCollection, versionID(1), func(body []byte) []byte { return append([]byte(`{"Number":1,`), body[1:]...) })
		}, true, "not written as a server writes it"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			if _, err := w.policies.Apply(t.Context(), []byte(strings.Replace(testPolicy, "platform", "other", 1)), "local_socket:admin"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Issue(t.Context(), request(t, "r1"), Attach{}); err != nil {
				t.Fatal(err)
			}
			cfg := w.policies.cfg
			test.forge(t, w)
			_ = w.store.Close() // a change has closed it
			w.openStore(t)
			found := policyFindings(t, w)
			if test.says == "" && len(found) > 0 || test.says != "" && !strings.Contains(fmt.Sprint(found), test.says) {
				t.Errorf("verify: %+v, want %q", found, test.says)
			}
			cfg.Store = w.store
			_, err := OpenPolicies(t.Context(), cfg)
			if test.starts && err != nil {
				t.Errorf("start: %v", err)
			} else if !test.starts {
				wantProblem(t, err, problem.FailedPrecondition, "POLICY_NOT_ACTIVATED")
			}
		})
	}
}

// TestUnknownPolicyDecides: an intent by a policy that was never activated.
func TestUnknownPolicyDecides(t *testing.T) {
	check := CheckPolicies()
	policy := entry.Policy{Document: []byte("version: 1\n")}
	intent := func(hash [32]byte) error {
		return check.Entry(9, entry.Entry{}, entry.Intent{Policy: hash})
	}
	if intent(policy.Hash()) == nil {
		t.Error("before its activation")
	}
	if err := check.Entry(3, entry.Entry{}, policy); err != nil {
		t.Fatal(err)
	}
	if err := intent(policy.Hash()); err != nil {
		t.Error(err)
	}
	if intent([32]byte{1}) == nil || check.Entry(9, entry.Entry{}, entry.SSH{}) == nil {
		t.Error("a policy that was never activated")
	}
}
