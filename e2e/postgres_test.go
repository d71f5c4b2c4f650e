package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgres is a running PostgreSQL, which is no friend of root: then the machine's
// user postgres runs it.
type postgres struct {
	t                       *testing.T
	dir, bin, port, account string
	as                      *syscall.SysProcAttr
	uid, gid                int
}

func newPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not installed; make deps installs it")
	}
	dir, err := os.MkdirTemp("", "cwpg") //nolint:usetesting // another user must reach it, by a short path
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &postgres{t: t, dir: dir, bin: filepath.Dir(found[len(found)-1]), uid: os.Getuid(), gid: os.Getgid()}
	me, err := user.Current()
	check(t, err)
	p.account = me.Username
	if p.uid == 0 {
		account, err := user.Lookup("postgres")
		check(t, err)
		p.account = account.Username
		p.uid, err = strconv.Atoi(account.Uid)
		check(t, err)
		p.gid, err = strconv.Atoi(account.Gid)
		check(t, err)
		p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}}
		check(t, errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, p.uid, p.gid)))
	}
	p.run("initdb", "-D", p.path("data"), "-U", "postgres", "-A", "peer", "--no-sync")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, p.port, err = net.SplitHostPort(l.Addr().String())
	check(t, errors.Join(err, l.Close()))
	return p
}

func (p *postgres) path(name string) string { return filepath.Join(p.dir, name) }

// run runs one of PostgreSQL's programs as its user.
func (p *postgres) run(program string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, p.as
	r := runCommand(p.t, cmd)
	if r.code != 0 {
		p.t.Fatalf("%s %v: exit %d\n%s%s", program, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func (p *postgres) write(name, text string) {
	p.t.Helper()
	check(p.t, errors.Join(os.WriteFile(p.path(name), []byte(text), 0o600), os.Chown(p.path(name), p.uid, p.gid)))
}

// start runs the server with the files that the agent keeps, as docs/workloads.md says.
func (p *postgres) start() {
	p.t.Helper()
	p.write("data/pg_hba.conf", `local   all all                peer map=owner
hostssl all all 127.0.0.1/32   cert map=machines
`)
	p.write("data/pg_ident.conf", `owner    `+p.account+`                    postgres
machines /^([a-z0-9-]+)\.team-a\.internal$  \1
`)
	p.write("data/conf.certwright", fmt.Sprintf(`listen_addresses = '127.0.0.1'
port = %s
unix_socket_directories = '%s'
ssl = on
ssl_cert_file = '%s'
ssl_key_file = '%s'
ssl_ca_file = '%s'
fsync = off
`, p.port, p.dir, p.path("tls/fullchain.pem"), p.path("tls/key.pem"), p.path("root.crt")))
	conf, err := os.OpenFile(p.path("data/postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	check(p.t, err)
	_, err = conf.WriteString("include 'conf.certwright'\n")
	check(p.t, errors.Join(err, conf.Close()))
	p.run("pg_ctl", "start", "-w", "-t", "60", "-D", p.path("data"), "-l", p.path("log"))
	p.t.Cleanup(func() {
		cmd := exec.Command(filepath.Join(p.bin, "pg_ctl"), "stop", "-m", "immediate", "-D", p.path("data"))
		cmd.SysProcAttr = p.as
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Errorf("pg_ctl stop: %v\n%s", err, out)
		}
	})
	p.run("psql", "-h", p.dir, "-p", p.port, "-U", "postgres", "-c", "CREATE ROLE web LOGIN", "postgres")
}

// serial is that of the certificate which the server shows.
func (p *postgres) serial() string {
	p.t.Helper()
	out := runCommand(p.t, exec.Command("openssl", "s_client", "-starttls", "postgres", "-connect", "127.0.0.1:"+p.port, "-CAfile", p.path("root.crt")))
	at := strings.Index(out.stdout, "-----BEGIN CERTIFICATE-----")
	if at < 0 {
		p.t.Fatalf("no certificate: %s%s", out.stdout, out.stderr)
	}
	block, _ := pem.Decode([]byte(out.stdout[at:]))
	c, err := x509.ParseCertificate(block.Bytes)
	check(p.t, err)
	return c.SerialNumber.String()
}

// query asks who the client is, by the certificate in a folder.
func (p *postgres) query(role, folder string) result {
	p.t.Helper()
	text := fmt.Sprintf("host=db.team-a.internal hostaddr=127.0.0.1 port=%s user=%s dbname=postgres connect_timeout=30 sslmode=verify-full sslrootcert=%s", p.port, role, p.path("root.crt"))
	if folder != "" {
		text += fmt.Sprintf(" sslcert=%s/fullchain.pem sslkey=%s/key.pem", folder, folder)
	} else {
		text += " sslcert=/nowhere/x sslkey=/nowhere/x"
	}
	return runCommand(p.t, exec.Command(filepath.Join(p.bin, "psql"), "-X", "-A", "-t", "-c", "SELECT current_user, ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()", text))
}

// TestPostgreSQL: PostgreSQL serves the certificate that the agent keeps, knows its
// clients by theirs, and serves the next one when the agent has reloaded it.
func TestPostgreSQL(t *testing.T) {
	s := newServer(t)
	s.start()
	p := newPostgres(t)
	check(t, os.WriteFile(p.path("root.crt"), []byte(readAll(t, filepath.Join(s.data, "root.crt"))), 0o644))
	token := p.path("token")
	s.must(p.dir, "token", "create", "--owner", "team-a", "--profile", "mtls", "--dns", "*.team-a.internal", "--uses", "3", "--out", token)
	clients := t.TempDir()
	agent := filepath.Join(clients, "agent.yaml")
	check(t, writeFile(agent, fmt.Sprintf(`server: %s
ca_file: %s
state: %s
auth: {token_file: %s}
certificates:
  - name: db
    names: [db.team-a.internal]
    profile: mtls
    folder: %s
    file_owner: %s
    hook: {command: [/bin/sh, -c, 'test ! -e %[7]s || kill -HUP "$(head -n 1 %[7]s)"']}
  - {name: web, names: [web.team-a.internal], profile: mtls, folder: web}
  - {name: other, names: [other.team-a.internal], profile: mtls, folder: other}
`, s.grpc, filepath.Join(s.data, "root.crt"), filepath.Join(clients, "state"), token, p.path("tls"), p.account, p.path("data/postmaster.pid"))))
	s.must(clients, "agent", "obtain", "--config", agent)
	p.start()
	web := filepath.Join(clients, "web")
	if r := p.query("web", web); r.code != 0 || strings.TrimSpace(r.stdout) != "web|t|/CN=web.team-a.internal" {
		t.Errorf("by certificate: %d %s%s", r.code, r.stdout, r.stderr)
	}
	for name, test := range map[string]struct{ role, folder, want string }{
		"another's role":        {"web", filepath.Join(clients, "other"), "certificate authentication failed"},
		"a role of its name":    {"postgres", web, "certificate authentication failed"},
		"without a certificate": {"web", "", "connection requires a valid client certificate"},
	} {
		if r := p.query(test.role, test.folder); r.code == 0 || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%s: %d %s%s", name, r.code, r.stdout, r.stderr)
		}
	}
	before := p.serial()
	s.must(clients, "agent", "obtain", "--config", agent, "--force", "db", "web")
	limit := time.After(time.Minute)
	for p.serial() == before { // it reads its files again soon after the signal
		select {
		case <-limit:
			t.Fatalf("the old certificate is served\n%s", readAll(t, p.path("log")))
		case <-time.After(50 * time.Millisecond):
		}
	}
	if r := p.query("web", web); r.code != 0 {
		t.Errorf("with the renewed ones: %s", r.stderr)
	}
}
