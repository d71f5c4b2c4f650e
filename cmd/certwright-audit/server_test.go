package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/server"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/recovery"
	"github.com/certwright/certwright/storage/bolt"
)

// TestRealServer has a real server witnessed, and then its ledger audited: what an
// honest server records has no findings.
func TestRealServer(t *testing.T) {
	w := newWorld(t)                   // its key is used to publish; the checkpoint is the server's own
	dir, err := os.MkdirTemp("", "cw") //nolint:usetesting // the socket's path must be short
	check(t, err)
	defer os.RemoveAll(dir)

	// A server needs its witness's address, a witness the server's key: the key is made
	// by a first run.
	data := filepath.Join(dir, "data")
	vkey := ""
	serve(t, data, nil, func(conn *grpc.ClientConn) {
		head, err := certwrightv1.NewLedgerServiceClient(conn).GetHead(t.Context(), &certwrightv1.GetHeadRequest{})
		check(t, err)
		vkey = head.GetVerifierKey()
	})
	key := filepath.Join(dir, "ledger.vkey")
	check(t, os.WriteFile(key, []byte(vkey), 0o600))
	address, witnessKey, _ := startWitness(t, filepath.Join(dir, "witness"), key)
	issued := filepath.Join(dir, "issued")
	check(t, os.Mkdir(issued, 0o700))
	serve(t, data, []string{"http://" + address + " " + witnessKey}, func(conn *grpc.ClientConn) {
		for i, name := range []string{"a.internal", "10.1.2.3", "b.svc.internal"} {
			signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			check(t, err)
			profile := []string{"server", "mtls", "server"}[i]
			cert, err := client.Sign(t.Context(), conn, signer, client.ParseNames([]string{name}), &certwrightv1.SignCertificateRequest{Profile: profile})
			check(t, err)
			check(t, os.WriteFile(filepath.Join(issued, profile+name+".pem"), []byte(cert.GetPem()), 0o600))
		}
		witnessed(t, conn)
	})

	tree := publishedBy(t, w, data)
	state := filepath.Join(dir, "state")
	code, out, problems := invoke(t, "follow", tree, "--key", key, "--state", state, "--once", "--certs", issued, "--grace", "0s")
	if code != exitOK || !strings.HasPrefix(out, "ok: ") {
		t.Errorf("an honest server: %d %q %q", code, out, problems)
	}
}

// serve runs a server while do is under way.
func serve(t *testing.T, data string, witnesses []string, do func(*grpc.ClientConn)) {
	t.Helper()
	s, err := config.Load(config.Sources{Dev: true, Flags: map[string]string{
		"data": data, "listen.https": "127.0.0.1:0", "listen.grpc": "127.0.0.1:0", "listen.http": "127.0.0.1:0", "listen.metrics": "127.0.0.1:0",
	}})
	check(t, err)
	s.Config.Ledger.Witnesses, s.Config.Ledger.WitnessesNeed = witnesses, len(witnesses)
	check(t, s.Validate())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan server.Addresses, 1), make(chan error, 1)
	go func() {
		done <- server.Run(ctx, server.Options{
			Config: s.Config, Version: "test", Logger: slog.New(slog.DiscardHandler), Ready: func(a server.Addresses) { ready <- a },
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case addresses := <-ready:
		conn, err := client.Dial(t.Context(), client.Config{Server: "unix:" + addresses.Socket})
		check(t, err)
		defer conn.Close()
		do(conn)
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
}

// startWitness runs the witness command in a folder, and returns its address and key.
func startWitness(t *testing.T, dir string, logs ...string) (address, vkey string, stop func()) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o700))
	key, public := filepath.Join(dir, "witness.key"), filepath.Join(dir, "witness.vkey")
	if _, err := os.Stat(key); err != nil {
		code, vkey, problems := invoke(t, "keygen", "witness.example/w1", "--out", key)
		if code != exitOK {
			t.Fatal(problems)
		}
		check(t, os.WriteFile(public, []byte(vkey), 0o600))
	}
	args := []string{"witness", "--listen", "127.0.0.1:0", "--key", key, "--state", filepath.Join(dir, "state")}
	for _, log := range logs {
		args = append(args, "--log", log)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	read, write := io.Pipe()
	done := make(chan int, 1)
	go func() { done <- run(ctx, &app{out: write, err: io.Discard}, args) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	line := make([]byte, 512)
	n, err := read.Read(line)
	check(t, err)
	_, rest, _ := strings.Cut(string(line[:n]), "listens on ")
	address, _, _ = strings.Cut(rest, ";")
	data, err := os.ReadFile(public)
	check(t, err)
	return address, strings.TrimSpace(string(data)), stop
}

// TestWitnessedEpoch has a server lose entries that were witnessed: the new epoch is a
// log that the witness has not seen, until it is given the new key; then it begins at
// size 0, and what was cosigned of the epoch before stays as it is.
func TestWitnessedEpoch(t *testing.T) {
	dir, err := os.MkdirTemp("", "cw") //nolint:usetesting // the socket's path must be short
	check(t, err)
	defer os.RemoveAll(dir)
	data, memory := filepath.Join(dir, "data"), filepath.Join(dir, "witness")
	db, first, second := filepath.Join(data, "ledger.db"), filepath.Join(dir, "1.vkey"), filepath.Join(dir, "2.vkey")
	serve(t, data, nil, func(conn *grpc.ClientConn) { saveKey(t, conn, first) })
	backup, err := os.ReadFile(db)
	check(t, err)
	address, witnessKey, stop := startWitness(t, memory, first)
	serve(t, data, []string{"http://" + address + " " + witnessKey}, func(conn *grpc.ClientConn) {
		issueOne(t, conn, "a.internal")
		witnessed(t, conn)
	})
	cosigned := remembered(t, memory)
	check(t, os.WriteFile(db, backup, 0o600))
	recoverLedger(t, data)

	serve(t, data, []string{"http://" + address + " " + witnessKey}, func(conn *grpc.ClientConn) {
		saveKey(t, conn, second)
		until(t, conn, "the witness knows the new epoch", func(head *certwrightv1.LedgerHead) bool {
			return len(head.GetWitnesses()) == 1 && strings.Contains(head.GetWitnesses()[0].GetError(), "does not know this ledger (404): give its admin the verifier key")
		})
	})
	stop()
	address, _, _ = startWitness(t, memory, first, second)
	serve(t, data, []string{"http://" + address + " " + witnessKey}, func(conn *grpc.ClientConn) {
		issueOne(t, conn, "b.internal")
		witnessed(t, conn)
		head, err := certwrightv1.NewLedgerServiceClient(conn).GetHead(t.Context(), &certwrightv1.GetHeadRequest{})
		check(t, err)
		if !strings.HasPrefix(head.GetWitnessedCheckpoint(), "localhost/certwright/epoch-2\n") {
			t.Errorf("what is witnessed: %q", head.GetWitnessedCheckpoint())
		}
	})
	now := remembered(t, memory)
	for name, note := range cosigned {
		if now[name] != note {
			t.Errorf("what was cosigned of the epoch before is %q, and was %q", now[name], note)
		}
	}
	if len(cosigned) != 1 || len(now) != 2 {
		t.Errorf("the witness remembers %d logs, and then %d", len(cosigned), len(now))
	}
}

// recoverLedger begins a new epoch of a stopped server's ledger.
func recoverLedger(t *testing.T, data string) {
	t.Helper()
	s, err := config.Load(config.Sources{Dev: true, Flags: map[string]string{"data": data}})
	check(t, err)
	r, err := recovery.Open(t.Context(), recovery.Options{Config: s.Config, Actor: "local_socket:admin"})
	check(t, err)
	check(t, r.Run(t.Context(), func(uint64, uint64) {}))
	if r.Epoch != 2 {
		t.Errorf("epoch %d", r.Epoch)
	}
	check(t, r.Close())
}

// remembered are the notes that a witness keeps.
func remembered(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "state", "*.checkpoint"))
	check(t, err)
	all := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		all[file] = string(data)
	}
	return all
}

// saveKey writes the ledger's verifier key into a file.
func saveKey(t *testing.T, conn *grpc.ClientConn, file string) {
	t.Helper()
	head, err := certwrightv1.NewLedgerServiceClient(conn).GetHead(t.Context(), &certwrightv1.GetHeadRequest{})
	check(t, err)
	check(t, os.WriteFile(file, []byte(head.GetVerifierKey()), 0o600))
}

func issueOne(t *testing.T, conn *grpc.ClientConn, name string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	_, err = client.Sign(t.Context(), conn, signer, client.ParseNames([]string{name}), &certwrightv1.SignCertificateRequest{Profile: "server"})
	check(t, err)
}

// witnessed waits until a checkpoint of all that is in the ledger is witnessed.
func witnessed(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	head := until(t, conn, "all is witnessed", func(head *certwrightv1.LedgerHead) bool {
		return head.GetWitnessedSize() > 0 && head.GetWitnessedSize() == head.GetSize()
	})
	if !strings.Contains(head.GetWitnessedCheckpoint(), "\n— witness.example/w1 ") || !strings.Contains(head.GetCheckpoint(), "\n— witness.example/w1 ") {
		t.Errorf("the cosignature is not on the checkpoint:\n%s\n%s", head.GetWitnessedCheckpoint(), head.GetCheckpoint())
	}
	if len(head.GetWitnesses()) != 1 || head.GetWitnesses()[0].GetSize() != head.GetWitnessedSize() || head.GetWitnesses()[0].GetError() != "" || head.GetWitnessesNeeded() != 1 {
		t.Errorf("the state of the witness: %v", head)
	}
}

// until waits until something can be seen of the ledger.
func until(t *testing.T, conn *grpc.ClientConn, what string, seen func(*certwrightv1.LedgerHead) bool) *certwrightv1.LedgerHead {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		head, err := certwrightv1.NewLedgerServiceClient(conn).GetHead(ctx, &certwrightv1.GetHeadRequest{})
		check(t, err)
		if seen(head) {
			return head
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not so after a minute: %s: %v", what, head)
		}
	}
}

// publishedBy publishes the ledger of a stopped server, with its last checkpoint.
func publishedBy(t *testing.T, w *world, data string) string {
	t.Helper()
	store, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(data, "ledger.db"), ReadOnly: true})
	check(t, err)
	defer store.Close()
	head, err := store.Head(t.Context())
	check(t, err)
	raws, err := store.Entries(t.Context(), 0, int(head.Size))
	check(t, err)
	if uint64(len(raws)) != head.Size {
		t.Fatalf("%d entries of %d were read at once", len(raws), head.Size)
	}
	tree := t.TempDir()
	w.show(tree, raws)
	signed, err := os.ReadFile(filepath.Join(data, "lock"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(tree, "checkpoint"), signed, 0o600))
	return tree
}
