package ocsp

import (
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

// run runs a program and returns all that it says.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func writePEM(t *testing.T, name string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenSSL asks the live handler with openssl, with and without nonces, for
// every kind of issuer key.
func TestOpenSSL(t *testing.T) {
	for _, algorithm := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"} {
		for _, way := range []string{"delegated", "own"} {
			t.Run(algorithm+" "+way, func(t *testing.T) {
				tn := foundBy(t, algorithm, way).populate(t)
				url, ca := tn.serve(t)+"/ocsp", writePEM(t, "ca.pem", tn.issuer.cert.Raw)
				for _, more := range []string{"-sha1 -no_nonce", "-sha256 -nonce"} {
					args := append([]string{"ocsp", "-issuer", ca, "-CAfile", ca, "-url", url}, strings.Fields(more)...)
					args = append(args, "-serial", "0x"+serialOf(tn.leaves["good"]).String(), "-serial", "0x"+serialOf(tn.leaves["revoked"]).String())
					args = append(args, "-serial", "0x"+serialOf(tn.leaves["unspecified"]).String(), "-serial", "0x"+serialOf(tn.leaves["reserved"]).String())
					checkOpenSSL(t, run(t, "openssl", args...))
				}
			})
		}
	}
}

func checkOpenSSL(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		`(?m)^Response verify OK$`, `: good\n\tThis Update: `, `: revoked\n\tThis Update: .*\n\tNext Update: .*\n\tReason: keyCompromise\n\tRevocation Time: `,
		`: revoked\n\tThis Update: .*\n\tNext Update: .*\n\tRevocation Time: `, `: unknown\n\tThis Update: .*\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "WARNING") || strings.Contains(out, "rror") {
		t.Errorf("openssl says:\n%s", out)
	}
}

// TestOpenSSLFiles has openssl make the requests and read the responses, in
// files: what it writes is read here octet by octet, and the other way round.
func TestOpenSSLFiles(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	ca := writePEM(t, "ca.pem", tn.issuer.cert.Raw)
	requestFile, responseFile := filepath.Join(t.TempDir(), "req.der"), filepath.Join(t.TempDir(), "res.der")
	for _, hash := range []string{"-sha1", "-sha256", "-sha384"} {
		run(t, "openssl", "ocsp", hash, "-issuer", ca, "-serial", "0x"+serialOf(tn.leaves["good"]).String(), "-reqout", requestFile)
		der, err := os.ReadFile(requestFile)
		if err != nil {
			t.Fatal(err)
		}
		var r request
		if !r.parse(der) || r.nonce == nil || len(r.ids) != 1 {
			t.Fatalf("%s: openssl's request %x", hash, der)
		}
		if err := os.WriteFile(responseFile, tn.postForTest(der).Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if hash == "-sha384" {
			continue // unauthorized: there is nothing to read
		}
		out := run(t, "openssl", "ocsp", "-respin", responseFile, "-reqin", requestFile, "-CAfile", ca, "-resp_text")
		for _, want := range []string{
			"Response verify OK", "OCSP Response Status: successful", "Cert Status: good", "OCSP Archive Cutoff", "OCSP Nonce", "OCSP No Check", "Responder Id: ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in:\n%s", hash, want, out)
			}
		}
	}
	// What this room builds, openssl reads the same.
	id := tn.issuers[0].certID(sha256Bare, serialOf(tn.leaves["good"]))
	if err := os.WriteFile(requestFile, build(t, message{ids: [][]byte{id}, nonce: make([]byte, 32)}), 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, "openssl", "ocsp", "-reqin", requestFile, "-req_text")
	if serial := strings.TrimLeft(strings.ToUpper(serialOf(tn.leaves["good"]).String()), "0"); !strings.Contains(out, "sha256") || !strings.Contains(strings.ReplaceAll(out, "Serial Number: 0", "Serial Number: "), serial) {
		t.Errorf("no serial %s in:\n%s", serial, out)
	}
}

// TestGnuTLS asks the live handler with ocsptool.
func TestGnuTLS(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	url, ca := tn.serve(t)+"/ocsp", writePEM(t, "ca.pem", tn.issuer.cert.Raw)
	for name, want := range map[string]string{"good": "good", "revoked": "revoked", "reserved": "unknown"} {
		leaf := writePEM(t, "leaf.pem", tn.leaves[name].Complete.Certificate)
		cmd := exec.CommandContext(t.Context(), "ocsptool", "--ask="+url, "--load-cert="+leaf, "--load-issuer="+ca, "--load-trust="+ca, "--nonce")
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || name == "good") {
			t.Fatalf("ocsptool: %v\n%s", err, out)
		}
		if !strings.Contains(string(out), "Certificate Status: "+want) || !strings.Contains(string(out), "Verifying OCSP Response: Success") {
			t.Errorf("%s:\n%s", name, out)
		}
		if name == "revoked" && !strings.Contains(string(out), "Revocation time: "+tn.ask(t, serialOf(tn.leaves[name]).Big()).RevokedAt.UTC().Format("Mon Jan 02 15:04:05")) {
			t.Errorf("revocation time:\n%s", out)
		}
	}
}

// TestReasons: openssl and ocsptool read each reason and the ledger's own time of
// revocation.
func TestReasons(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	url, ca := tn.serve(t)+"/ocsp", writePEM(t, "ca.pem", tn.issuer.cert.Raw)
	for reason, name := range map[identity.RevocationReason]string{
		identity.Unspecified: "", identity.KeyCompromise: "keyCompromise", identity.AffiliationChanged: "affiliationChanged",
		identity.Superseded: "superseded", identity.CessationOfOperation: "cessationOfOperation", identity.PrivilegeWithdrawn: "(UNKNOWN)", // openssl has no word for it
	} {
		leaf := tn.issueLeaf(t)
		commit(t, tn.store, leaf.Revoke(t, reason))
		row, err := tn.store.BySerial(t.Context(), tn.issuer.ID, serialOf(leaf))
		if err != nil {
			t.Fatal(err)
		}
		at := row.Revocation.At.UTC()
		out := run(t, "openssl", "ocsp", "-issuer", ca, "-CAfile", ca, "-url", url, "-serial", "0x"+serialOf(leaf).String())
		want := `: revoked\n\tThis Update: .*\n\tNext Update: .*\n`
		if name != "" {
			want += `\tReason: ` + regexp.QuoteMeta(name) + `\n`
		}
		want += `\tRevocation Time: ` + at.Format("Jan _2 15:04:05 2006") + ` GMT\n$`
		if res := tn.ask(t, serialOf(leaf).Big()); res.RevocationReason != int(reason) {
			t.Errorf("%s: reason %d", reason, res.RevocationReason)
		}
		if !regexp.MustCompile(want).MatchString(out) || !strings.Contains(out, "Response verify OK") {
			t.Errorf("%s: openssl has no %q:\n%s", reason, want, out)
		}
		cmd := exec.CommandContext(t.Context(), "ocsptool", "--ask="+url, "--load-cert="+writePEM(t, "leaf.pem", leaf.Complete.Certificate), "--load-issuer="+ca, "--load-trust="+ca)
		text, err := cmd.CombinedOutput() // fails for what is revoked
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		for _, want := range []string{"Certificate Status: revoked\n", "Revocation time: " + at.Format("Mon Jan 02 15:04:05") + " UTC " + at.Format("2006") + "\n", "Verifying OCSP Response: Success"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: ocsptool has no %q:\n%s", reason, want, text)
			}
		}
	}
}
