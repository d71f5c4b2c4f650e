package entry_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/merkle/entry"
)

// at is the time of all golden entries.
var at = time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)

func fill(b byte) (h [32]byte) {
	for i := range h {
		h[i] = b
	}
	return h
}

// golden is one body of each kind, and variants; testdata holds their entries
// in hexadecimal. These files are the format: one that is there is never
// changed.
func golden() map[string]struct {
	actor string
	body  entry.Body
} {
	type row = struct {
		actor string
		body  entry.Body
	}
	return map[string]row{
		"00-genesis": {"system:server", entry.Origin{Origin: "ca.example/ledger", Certificates: [][32]byte{fill(1), fill(2)}}},
		"00-genesis-second-epoch": {"system:server", entry.Origin{
			Origin: "ca.example/ledger-2", Certificates: [][32]byte{fill(1)}, Previous: []byte("ca.example/ledger\n5\nAQID\n\n— sig\n"),
		}},
		"01-intent": {"token:0a0b", entry.Intent{
			Issuer: fill(3), Profile: "server", Policy: fill(4), Grant: "token:0a0b", Evidence: fill(5), Owner: "team-a",
			CSR: fill(6), TBS: []byte{0x30, 3, 2, 1, 5}, RequestKey: fill(7), RequestDigest: fill(8), Labels: [][32]byte{fill(9), fill(10)},
		}},
		"01-intent-plain": {"local_socket:admin", entry.Intent{
			Issuer: fill(3), Profile: "server", Policy: fill(4), Grant: "admins", Owner: "team-a", TBS: []byte{0x30, 3, 2, 1, 5},
		}},
		"01-intent-replaces": {"acme:17", entry.Intent{
			Issuer: fill(3), Profile: "server", Policy: fill(4), Grant: "acme-open", Evidence: fill(5), Owner: "team-a",
			CSR: fill(6), TBS: []byte{0x30, 3, 2, 1, 5}, RequestKey: fill(7), RequestDigest: fill(8), Replaces: fill(11),
		}},
		"02-abandoned":  {"system:server", entry.Abandoned{Index: 258, Reason: entry.ReasonServerEnded}},
		"03-revocation": {"local_socket:admin", entry.Revoked{Issuer: fill(3), Serial: [16]byte{1, 2, 15: 16}, Reason: 1, At: at.Add(-time.Hour)}},
		"04-issuer-event": {"local_socket:admin", entry.Issuer{
			Event: "cross-signed", Issuer: fill(3), Certificate: fill(4), Transcript: fill(5),
		}},
		"05-policy-change": {"local_socket:admin", entry.Policy{Document: []byte("version: 1\n")}},
		"06-admin-action": {"local_socket:admin", entry.Action{
			Action: "token.created", Target: "0a0b", Detail: "profiles: server; uses: 1", Commitments: [][32]byte{fill(11)},
		}},
		"07-account-event": {"acme:17", entry.Account{
			Event: "key-changed", Account: "17", Key: fill(12), EAB: "eab-1", Contacts: [][32]byte{entry.Commit(fill(13), []byte("mailto:a@b.example"))},
		}},
		"08-crl-published": {"system:server", entry.CRL{Issuer: fill(3), Shard: "12", Number: 1 << 40, SHA256: fill(14)}},
		"09-retention": {"local_socket:admin", entry.Retained{
			Minimum: 1000, Tombstones: []entry.Tombstone{{Index: 1001, Leaf: fill(15)}, {Index: 2000, Leaf: fill(16)}},
		}},
		"10-ssh-intent": {"oidc:user", entry.SSH{
			Issuer: fill(3), Profile: "ssh-user", Policy: fill(4), Grant: "people", Evidence: fill(5), Owner: "team-a",
			Unsigned: []byte("ssh-ed25519-cert"), RequestKey: fill(7), RequestDigest: fill(8),
		}},
	}
}

func TestGolden(t *testing.T) {
	for name, row := range golden() {
		t.Run(name, func(t *testing.T) {
			d, err := row.body.Draft(row.actor)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := d.Marshal(at)
			if err != nil {
				t.Fatal(err)
			}
			if want := readGolden(t, name); string(raw) != string(want) {
				t.Fatalf("the encoding is not that of testdata/%s.hex:\n%s", name, hex.EncodeToString(raw))
			}
			e, err := entry.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Time.Equal(at) || e.Actor != row.actor {
				t.Errorf("time %v, actor %q", e.Time, e.Actor)
			}
			body, err := entry.ParseBody(e.Draft)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(body, row.body) {
				t.Errorf("got %+v, want %+v", body, row.body)
			}
		})
	}
}

// TestGoldenIsComplete: each file has a row, and each kind a file.
func TestGoldenIsComplete(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	rows, kinds := golden(), map[entry.Kind]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		row, ok := rows[name]
		if !ok {
			t.Errorf("%s has no row in golden", file)
			continue
		}
		d, err := row.body.Draft(row.actor)
		if err != nil {
			t.Fatal(err)
		}
		kinds[d.Kind] = true
	}
	for k := entry.Genesis; k <= entry.SSHIntent; k++ {
		if !kinds[k] {
			t.Errorf("%s has no golden file", k)
		}
	}
}

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestCommit: the commitment is HMAC-SHA256 (RFC 4231 §4.2, with the salt's
// padding to 32 octets, which HMAC makes of a shorter key itself).
func TestCommit(t *testing.T) {
	salt := [32]byte{}
	for i := range 20 {
		salt[i] = 0x0b
	}
	got := entry.Commit(salt, []byte("Hi There"))
	if want := "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"; hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}
