package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// agentHost is a host with an agent of this server.
type agentHost struct {
	t     *testing.T
	s     *server
	dir   string
	file  string
	cmd   *exec.Cmd
	ended chan struct{}
	log   *syncBuffer
}

// newAgentHost writes an agent's file with one certificate, web.agent.internal, in the
// folder web; more is YAML of the certificate.
func newAgentHost(t *testing.T, s *server, more string) *agentHost {
	t.Helper()
	h := &agentHost{t: t, s: s, dir: t.TempDir()}
	h.file = filepath.Join(h.dir, "agent.yaml")
	root, err := os.ReadFile(filepath.Join(s.data, "root.crt"))
	check(t, err)
	check(t, writeFile(filepath.Join(h.dir, "root.crt"), string(root)))
	check(t, writeFile(h.file, fmt.Sprintf(`
state: state
server: %s
ca_file: root.crt
auth: {token_file: token}
tries_per_hour: 60
certificates:
  - name: web
    names: [web.agent.internal]
    profile: mtls
    folder: web
%s
`, s.grpc, more)))
	s.must(h.dir, "token", "create", "--owner", "team-a", "--profile", "mtls", "--dns", "*.agent.internal", "--uses", "1000", "--out", "token")
	t.Cleanup(h.stop)
	return h
}

// shortLived has certificates of the profile mtls live so long: an agent's file may
// not ask for less than a minute.
func (s *server) shortLived(life string) {
	s.t.Helper()
	dir := s.t.TempDir()
	before, mtls, found := strings.Cut(s.must(dir, "policy", "show"), "  - name: mtls\n")
	changed := strings.Replace(mtls, "{default: 7d, max: 30d, backdate: 1m}", "{default: "+life+", max: 30d, backdate: 1s}", 1)
	if !found || changed == mtls {
		s.t.Fatal("the policy has no profile mtls that is like the one that is known")
	}
	file := filepath.Join(dir, "policy.yaml")
	check(s.t, writeFile(file, before+"  - name: mtls\n"+changed))
	s.must(dir, "policy", "apply", file, "--yes")
}

// run starts the agent.
func (h *agentHost) run() {
	h.t.Helper()
	h.log, h.ended = &syncBuffer{}, make(chan struct{})
	h.cmd = exec.Command(binary, "agent", "run", "--config", h.file)
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = h.dir, h.log, h.log
	check(h.t, h.cmd.Start())
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(h.cmd, h.ended)
}

func (h *agentHost) stop() {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
		if code := h.cmd.ProcessState.ExitCode(); code != 0 {
			h.t.Errorf("the agent ended with %d\n%s", code, h.log)
		}
	case <-time.After(time.Minute):
		_ = h.cmd.Process.Kill()
		<-h.ended
		h.t.Errorf("the agent did not stop on SIGTERM\n%s", h.log)
	}
	h.cmd = nil
}

// agentState is what the tests read of status.json.
type agentState struct {
	State, Serial string
	Failures      int
	LastError     string `json:"last_error"`
	Note          string
}

// status is what "agent status" says of web.
func (h *agentHost) status() agentState {
	h.t.Helper()
	r := h.s.run(h.dir, "agent", "status", "--config", h.file, "-o", "json")
	var doc struct{ Certificates []agentState }
	if r.code == 3 { // not yet
		return agentState{}
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || len(doc.Certificates) != 1 || (r.code == 0) != (doc.Certificates[0].State == "valid") {
		h.t.Fatalf("agent status: exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	return doc.Certificates[0]
}

// until waits for what must come.
func (h *agentHost) until(what string, is func() bool) {
	h.t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			log := ""
			if h.log != nil {
				log = h.log.String()
			}
			h.t.Fatalf("not in three minutes: %s\n%s", what, log)
		}
	}
}

// leaf reads the files as a server would: key and certificate belong together.
func (h *agentHost) leaf() *x509.Certificate {
	h.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(h.dir, "web", "fullchain.pem"), filepath.Join(h.dir, "web", "key.pem"))
	check(h.t, err)
	return pair.Leaf
}

// nginxConf is a whole configuration around the server block of docs/workloads.md, with
// the test's own address and folders.
func nginxConf(t *testing.T, h *agentHost, address string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/workloads.md")
	check(t, err)
	_, after, _ := strings.Cut(string(page), "```nginx\n")
	block, _, found := strings.Cut(after, "```")
	for from, to := range map[string]string{
		"listen 443 ssl;": "listen " + address + " ssl; return 200;", "/var/lib/certwright-agent/certificates/web/": filepath.Join(h.dir, "web") + "/",
		"/etc/certwright/root.crt": filepath.Join(h.dir, "root.crt"), "server_name web.team-a.internal": "server_name web.agent.internal",
	} {
		if !found || !strings.Contains(block, from) {
			t.Fatalf("the page has no %s", from)
		}
		block = strings.ReplaceAll(block, from, to)
	}
	user := ""
	if os.Geteuid() == 0 { // as distributions do: only the first process is root
		user = "user nobody nogroup; "
	}
	return user + "daemon off; pid nginx.pid; error_log stderr notice; worker_processes 1;\nevents {}\nhttp {\n" +
		"access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n" + block + "}\n"
}

// TestAgentNginx: nginx serves the certificate of the agent, as docs/workloads.md has it, to
// clients with a certificate of the CA; each time the agent has renewed it, the hook
// reloads nginx, and nginx serves the new one.
func TestAgentNginx(t *testing.T) {
	s := newServer(t)
	s.start()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx" // where Debian keeps it
	}
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	s.shortLived("15s")
	h := newAgentHost(t, s, fmt.Sprintf("    hook: {command: [%s, -p, %s, -c, %s, -s, reload]}\n", nginx, filepath.Dir(conf), conf))
	var address string
	s.freeAddrs(&address)
	check(t, writeFile(conf, nginxConf(t, h, address)))
	// The first certificate is there before nginx starts. Its hook finds no nginx, and says so.
	if r := s.run(h.dir, "agent", "obtain", "--config", h.file); r.code != 1 || !strings.Contains(r.stderr, "hook: ") {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	var said bytes.Buffer
	server := exec.Command(nginx, "-p", filepath.Dir(conf), "-c", conf)
	server.Stderr = &said
	check(t, server.Start())
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()
	h.run()
	roots := s.roots()
	// The answer's status, and the serial of what nginx serves; 0: there is none now.
	ask := func(own ...tls.Certificate) (int, string) {
		c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "web.agent.internal", Certificates: own},
		}}
		answer, err := c.Get("https://" + address)
		if err != nil {
			return 0, ""
		}
		_ = answer.Body.Close()
		return answer.StatusCode, answer.TLS.PeerCertificates[0].SerialNumber.Text(16)
	}
	served := func() string {
		own, err := tls.LoadX509KeyPair(filepath.Join(h.dir, "web", "fullchain.pem"), filepath.Join(h.dir, "web", "key.pem"))
		if err != nil {
			return ""
		}
		if status, serial := ask(own); status == http.StatusOK {
			return serial
		}
		return ""
	}
	seen := map[string]bool{}
	h.until("nginx serves three certificates, one after the other\n"+said.String(), func() bool {
		if serial := served(); serial != "" {
			seen[serial] = true
		}
		return len(seen) >= 3
	})
	h.until("a client without a certificate is refused", func() bool { status, _ := ask(); return status == http.StatusBadRequest })
	if list := s.must(h.dir, "cert", "list", "-o", "json"); strings.Count(list, "web.agent.internal") < 3 {
		t.Errorf("the server knows of fewer:\n%s", list)
	}
}

// TestAgentOutlivesCA: the CA is stopped for longer than the certificate lives; the
// agent goes on trying, and once the CA is back it has a certificate again.
func TestAgentOutlivesCA(t *testing.T) {
	s := newServer(t)
	s.start()
	s.shortLived("10s")
	h := newAgentHost(t, s, "")
	h.run()
	h.until("a certificate", func() bool { return h.status().State == "valid" })
	first := h.status().Serial
	h.until("a renewal", func() bool { st := h.status(); return st.State == "valid" && st.Serial != first })
	s.stop()
	h.until("expired, and tried again and again", func() bool { st := h.status(); return st.State == "expired" && st.Failures >= 3 })
	old := h.leaf()
	if !time.Now().After(old.NotAfter) {
		t.Error("it is not expired")
	}
	s.start()
	h.until("a new certificate after the outage", func() bool { st := h.status(); return st.State == "valid" && st.LastError == "" })
	if h.leaf().Equal(old) {
		t.Error("the certificate is the old one")
	}
	h.stop()
	if !strings.Contains(h.log.String(), "the certificate expired before it was renewed") {
		t.Errorf("the log does not say that the renewal became a request by token:\n%s", h.log)
	}
}

// TestAgentKilled: the agent is killed (kill -9) at any moment of a renewal. Key and
// certificate in the folder always belong together, and the next start goes on with
// the request that was under way: the server has issued nothing that did not arrive.
func TestAgentKilled(t *testing.T) {
	s := newServer(t)
	s.start()
	h := newAgentHost(t, s, "")
	s.must(h.dir, "agent", "obtain", "--config", h.file)
	arrived := map[string]bool{}
	look := func() {
		t.Helper()
		arrived[h.leaf().SerialNumber.Text(16)] = true
	}
	look()
	killed := 0
	begin := time.Now()
	s.must(h.dir, "agent", "obtain", "--config", h.file, "--force")
	usual := time.Since(begin)
	look()
	for round := range rounds(t) {
		cmd := exec.Command(binary, "agent", "obtain", "--config", h.file, "--force")
		var out bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = h.dir, &out, &out
		check(t, cmd.Start())
		timer := time.AfterFunc(usual/8+rand.N(usual), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == -1:
			killed++
		case err != nil:
			t.Fatalf("round %d: %v\n%s", round, err, &out)
		}
		look()
	}
	s.must(h.dir, "agent", "obtain", "--config", h.file, "--force")
	look()
	if st := h.status(); st.State != "valid" {
		t.Errorf("%+v", st)
	}
	if killed == 0 {
		t.Error("no round was killed")
	}
	var list struct{ Certificates []json.RawMessage }
	check(t, json.Unmarshal([]byte(s.must(h.dir, "cert", "list", "--filter", `dns_names:"web.agent.internal" AND state = ISSUED`, "--limit", "1000", "-o", "json")), &list))
	if len(list.Certificates) != len(arrived) {
		t.Errorf("%d certificates were issued, %d arrived", len(list.Certificates), len(arrived))
	}
	t.Logf("%d killed, %d certificates", killed, len(arrived))
}

// TestAgentRevoked: the agent sees that its certificate was revoked, and asks for a
// new one by its token; the status says why.
func TestAgentRevoked(t *testing.T) {
	s := newServer(t)
	s.start()
	h := newAgentHost(t, s, "")
	s.must(h.dir, "agent", "obtain", "--config", h.file)
	s.must(h.dir, "cert", "revoke", "web/cert.pem", "--reason", "keyCompromise", "--yes")
	old := h.leaf()
	h.run()
	h.until("a new certificate", func() bool { st := h.status(); return st.State == "valid" && st.Note != "" })
	if h.leaf().Equal(old) || !strings.Contains(h.status().Note, "the renewal was refused") {
		t.Errorf("%+v", h.status())
	}
}

// TestAgentACME: the agent gets a certificate by ACME from the real server, with
// http-01 that it answers itself, and renews it in the window of the renewal
// information; the server sees the lineage.
func TestAgentACME(t *testing.T) {
	w := newACMEWorld(t)
	w.startACME()
	ip := w.address("agent")
	dir := t.TempDir()
	id, key := w.keyOfEAB(t)
	check(t, writeFile(filepath.Join(dir, "eab.key"), key+"\n"))
	file := filepath.Join(dir, "agent.yaml")
	check(t, writeFile(file, fmt.Sprintf(`
state: state
ca_file: %s
acme:
  directory: %s
  http_address: %q
  eab_key_id: %s
  eab_key_file: eab.key
certificates:
  - name: web
    source: acme
    names: [web.agent.internal]
    folder: web
`, w.root, w.directory, w.httpAddr(ip), id)))
	h := &agentHost{t: t, s: w.server, dir: dir, file: file}
	if r := w.run(dir, "agent", "obtain", "--config", file); r.code != 0 {
		t.Fatalf("exit %d\n%s%s\n%s", r.code, r.stdout, r.stderr, w.logTail())
	}
	first := h.leaf()
	if r := w.run(dir, "agent", "obtain", "--config", file); r.code != 0 || !strings.Contains(r.stdout, "not due") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	var record struct {
		Plan struct {
			Window struct{ Start, End time.Time }
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "state", "records", "web.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &record))
	if life := first.NotAfter.Sub(first.NotBefore); record.Plan.Window.Start.Sub(first.NotBefore).Round(time.Minute) != (life * 2 / 3).Round(time.Minute) {
		t.Errorf("the window begins at %v, the certificate at %v", record.Plan.Window.Start, first.NotBefore)
	}
	if r := w.run(dir, "agent", "obtain", "--config", file, "--force"); r.code != 0 {
		t.Fatalf("exit %d\n%s%s\n%s", r.code, r.stdout, r.stderr, w.logTail())
	}
	if second := h.leaf(); second.Equal(first) {
		t.Error("it was not renewed")
	}
	if story := w.must(dir, "cert", "show", filepath.Join("web", "cert.pem")); !strings.Contains(strings.ToLower(story), "replaces") {
		t.Errorf("no lineage:\n%s", story)
	}
}
