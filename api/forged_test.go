package api_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// TestVerifyLedgerSeesForgedRecords: the server's own verification knows the
// records of policies, tokens and blocked keys.
func TestVerifyLedgerSeesForgedRecords(t *testing.T) {
	w := newWorld(t)
	active, err := w.store.Record(t.Context(), "policy", "active")
	w.must(err)
	_, err = w.store.Commit(t.Context(), storage.Unit{
		storage.PutRecord{Collection: "policy", ID: "active", IfVersion: active.Version, Body: []byte(`{"number":9,"hash":""}`)},
		storage.PutRecord{Collection: "blocked-key", ID: strings.Repeat("0", 64), Body: []byte(`{"issuer":"","serial":""}`)},
		storage.PutRecord{Collection: "token", ID: "ffffffffffffffffffffffffffffffff", Body: []byte(`{}`)},
	})
	w.must(err)
	stream, err := certwrightv1.NewLedgerServiceClient(w.admin).VerifyLedger(t.Context(), &certwrightv1.VerifyLedgerRequest{})
	w.must(err)
	kinds := map[string]int{}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		for _, f := range m.GetFindings() {
			kinds[f.GetKind()]++
		}
	}
	if kinds["policy"] != 1 || kinds["token"] != 1 || kinds["blocked-key"] != 1 {
		t.Errorf("%v", kinds)
	}
}
