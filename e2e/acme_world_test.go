package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// acmePolicy is the policy of the ACME tests: anybody who proves control may have
// names below internal, but for what is forbidden; who is bound to the EAB key
// "bound" is team-bound.
const acmePolicy = `version: 1
issuers:
  - {name: issuing, key: "file:keys/issuing.key", certificate: keys/issuing.crt}
profiles:
  - name: server
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096]
    validity: {default: 168h, max: 2160h, backdate: 1m}
    key_usage: [digital_signature]
    ext_key_usage: [server_auth]
    wildcards: true
    max_names: 20
    lints: [rfc5280, certwright]
grants:
  - name: local-admin
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: [localhost, ".internal"]}
    owner: platform
  - name: acme-bound
    principals: [{eab: bound}]
    profiles: [server]
    allow: {dns: [".internal"]}
    owner: team-bound
  - name: acme-open
    principals: [{acme: any}]
    profiles: [server]
    allow: {dns: [".internal"], ip: [127.0.0.0/8]}
    deny: {dns: ["*.forbidden.internal"]}
    owner: unassigned
`

// acmeWorld is a running server that validates on loopback, with a name server for
// it. Each client has an address of its own, so that all can use the same ports.
type acmeWorld struct {
	*server
	zone           *zone
	directory      string
	root           string // file with the root certificate
	httpPort, alpn string
	limits         string // lines of the acme section

	mu    sync.Mutex
	seen  []witness
	hosts int
}

// witness is a certificate that a client was given.
type witness struct {
	client, operation, owner string
	id, serial               string
	names                    []string
}

func newACMEWorld(t *testing.T) *acmeWorld {
	t.Helper()
	w := &acmeWorld{server: newServer(t), zone: newZone(t)}
	var plain, alpn string
	w.freeAddrs(&plain, &alpn)
	w.httpPort, w.alpn = portOf(plain), portOf(alpn)
	w.directory = "https://localhost:" + portOf(w.https) + "/acme/directory"
	w.root = filepath.Join(w.data, "root.crt")
	return w
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// startACME starts the server, and applies the policy at the first start.
func (w *acmeWorld) startACME() {
	w.t.Helper()
	folder := filepath.Dir(w.data)
	config := filepath.Join(folder, "acme.yaml")
	_, err := os.Stat(config)
	if err == nil {
		w.start("--config", config)
		return
	}
	check(w.t, writeFile(config, fmt.Sprintf(`data: %s
base_url: {https: "https://localhost:%s"}
acme:
  eab: optional
  http01_port: %s
  tlsalpn01_port: %s
  resolver: %q
  networks: {allow: [127.0.0.0/8]}
%s`, w.data, portOf(w.https), w.httpPort, w.alpn, w.zone.addr, w.limits)))
	w.start("--config", config)
	policy := filepath.Join(folder, "acme-policy.yaml")
	check(w.t, writeFile(policy, acmePolicy))
	w.must(folder, "policy", "apply", policy, "--yes")
}

// address gives a client an address of its own, and its names below
// CLIENT.internal with it.
func (w *acmeWorld) address(client string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts++
	ip := fmt.Sprintf("127.77.%d.1", w.hosts)
	w.zone.host(client, ip)
	return ip
}

func (w *acmeWorld) httpAddr(ip string) string { return net.JoinHostPort(ip, w.httpPort) }
func (w *acmeWorld) alpnAddr(ip string) string { return net.JoinHostPort(ip, w.alpn) }

// environ is the environment of a client: the root is trusted in every way that
// clients know, and the system's own roots in none.
func (w *acmeWorld) environ(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + filepath.Dir(w.data), "LANG=C.UTF-8",
		"SSL_CERT_FILE=" + w.root, "REQUESTS_CA_BUNDLE=" + w.root, "CURL_CA_BUNDLE=" + w.root, "LEGO_CA_CERTIFICATES=" + w.root,
	}, more...)
}

// exec runs a client's program and wants exit code 0.
func (w *acmeWorld) exec(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, w.environ(env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, w.logTail())
	}
	return string(out)
}

// logTail is the end of the server's log, and its orders that failed.
func (w *acmeWorld) logTail() string {
	lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	failed := w.run(filepath.Dir(w.data), "cert", "explain", "--failed", "-o", "yaml")
	return "server: " + strings.Join(lines[max(0, len(lines)-15):], "\nserver: ") + "\n" + failed.stdout + failed.stderr
}

// leafOf is the first certificate of a PEM text.
func leafOf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no certificate in %.200q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	return c
}

// received notes that a client has a certificate, and checks that it is for these
// names and chains up to the root.
func (w *acmeWorld) received(t *testing.T, client, operation, owner, chain string, names ...string) *x509.Certificate {
	t.Helper()
	leaf := leafOf(t, chain)
	got := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		got = append(got, ip.String())
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(names))
	if !slices.Equal(got, want) {
		t.Errorf("the certificate is for %v, not %v", got, want)
	}
	pool := x509.NewCertPool()
	_, rest, _ := strings.Cut(chain, "-----END CERTIFICATE-----")
	pool.AppendCertsFromPEM([]byte(rest))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: w.roots(), Intermediates: pool}); err != nil {
		t.Errorf("the chain: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, witness{client: client, operation: operation, owner: owner,
		id: fingerprint(chain), serial: fmt.Sprintf("%032x", leaf.SerialNumber), names: want})
	return leaf
}

// state is how the server has a certificate.
func (w *acmeWorld) state(t *testing.T, leaf *x509.Certificate) certwrightv1.Certificate_State {
	t.Helper()
	id := fingerprint(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))
	c, err := certwrightv1.NewCertificateServiceClient(w.socket()).GetCertificate(t.Context(), &certwrightv1.GetCertificateRequest{Id: id})
	check(t, err)
	return c.GetState()
}

// compareACME holds what clients were given against the ledger.
func (w *acmeWorld) compareACME(t *testing.T) {
	t.Helper()
	list := listAll(context.Background(), t, certwrightv1.NewCertificateServiceClient(w.socket()), "")
	byID := map[string]*certwrightv1.Certificate{}
	for _, c := range list {
		if strings.HasPrefix(c.GetRequester(), "acme:") && c.GetOwner() == "" {
			t.Errorf("serial %s of %s has no owner", c.GetSerial(), c.GetRequester())
		}
		if c.GetState() == certwrightv1.Certificate_RESERVED {
			t.Errorf("serial %s of %s is reserved", c.GetSerial(), c.GetRequester())
		}
		if c.GetId() != "" {
			byID[c.GetId()] = c
		}
	}
	for _, s := range w.seen {
		c := byID[s.id]
		switch {
		case c == nil:
			t.Errorf("%s %s: serial %s is not in the ledger", s.client, s.operation, s.serial)
		case c.GetOwner() != s.owner:
			t.Errorf("%s %s: serial %s has the owner %q, want %q", s.client, s.operation, s.serial, c.GetOwner(), s.owner)
		case !slices.Equal(slices.Sorted(slices.Values(slices.Concat(c.GetDnsNames(), c.GetIpAddresses()))), s.names):
			t.Errorf("%s %s: the ledger has the names %v %v, want %v", s.client, s.operation, c.GetDnsNames(), c.GetIpAddresses(), s.names)
		}
	}
	t.Logf("%d certificates were received by clients; the ledger has %d", len(w.seen), len(list))
}
