// Command demo tells the whole journey as a story: it starts a development CA
// in a temporary folder and on free ports, gets certificates over gRPC, over REST
// and over ACME, by a platform's identity tokens too, is denied one, verifies the ledger and stops. It exits 0 if all of it
// went as told.
//
//	demo PATH/TO/certwright
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PATH/TO/certwright")
		os.Exit(2)
	}
	if err := tell(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// tell runs the story in a folder that is gone afterwards.
func tell(binary string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "certwright-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := &stage{binary: binary, dir: dir}
	for _, address := range []*string{&s.https, &s.grpc, &s.http, &s.metrics, &s.challenge} {
		if *address, err = freeAddress(); err != nil {
			return err
		}
	}
	defer s.end()
	if err := s.believe(); err != nil {
		return err
	}
	for n, act := range []struct {
		title string
		play  func() error
	}{
		{"A CA starts, with a folder of its own", s.start},
		{"A certificate over gRPC, through the admin socket", s.issue},
		{"A team gets a token, and a certificate over gRPC and TLS", s.team},
		{"Another token, another certificate, over REST", s.rest},
		{"A third team brings its own ACME client", s.acme},
		{"A workload gets a certificate by its platform's token, without a secret of its own, and renews it by mTLS", s.workload},
		{"The workload is revoked: the connection that it keeps is refused", s.cutOff},
		{"A request that the policy denies, and why", s.denied},
		{"What exists, who owns it, when it expires", s.list},
		{"A certificate is revoked: OCSP says so at once, the CRL soon after", s.revoke},
		{"The ledger is verified while the server runs", s.verify},
		{"The server stops; its file verifies without it", s.stopped},
	} {
		fmt.Printf("\n%d. %s\n", n+1, act.title)
		if err := act.play(); err != nil {
			return fmt.Errorf("act %d (%s): %w", n+1, act.title, err)
		}
	}
	fmt.Println("\nThe end: every certificate above stands in the ledger, and was there before the key signed it.")
	return nil
}

// stage is the server and the folder in which the story plays.
type stage struct {
	binary, dir                string
	https, grpc, http, metrics string
	challenge                  string // where the ACME client answers http-01
	provider                   *provider
	server                     *exec.Cmd
	exited                     chan struct{}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func (s *stage) start() error {
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err
	}
	args := []string{"serve", "--dev", "--https", s.https, "--grpc", s.grpc, "--http", s.http, "--metrics", s.metrics, "--config", "demo.yaml"}
	show("certwright " + strings.Join(args, " ") + " &")
	s.server = exec.Command(s.binary, args...)
	s.server.Dir, s.server.Stdout, s.server.Stderr = s.dir, log, log
	// Elsewhere http-01 is answered at port 80, which here may be somebody's.
	_, port, err := net.SplitHostPort(s.challenge)
	if err != nil {
		return err
	}
	s.server.Env = append(os.Environ(), "CERTWRIGHT_ACME_HTTP01_PORT="+port)
	if err := s.server.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		_ = s.server.Wait()
		close(s.exited)
	}()
	err = s.ready()
	text, readErr := os.ReadFile(log.Name())
	if readErr != nil {
		return readErr
	}
	tellOutput(string(text))
	return err
}

// ready waits until the server says that it is, for at most a minute.
func (s *stage) ready() error {
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get("http://" + s.metrics + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return errors.New("the server ended")
		case <-limit:
			return errors.New("the server is not ready after a minute")
		case <-tick.C:
		}
	}
}

// end stops what still runs.
func (s *stage) end() {
	if s.provider != nil {
		s.provider.server.Close()
	}
	if s.server != nil {
		_ = s.stop()
	}
}

func (s *stage) stop() error {
	server := s.server
	s.server = nil
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		_ = server.Process.Kill()
		<-s.exited
		return errors.New("the server did not stop on SIGTERM")
	}
	if code := server.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the server ended with exit code %d", code)
	}
	return nil
}

// run runs certwright, tells what it says, and wants this exit code.
func (s *stage) run(want int, args ...string) (string, error) {
	show("certwright " + strings.Join(quoted(args), " "))
	cmd := exec.Command(s.binary, args...)
	cmd.Dir = s.dir
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err
	}
	tellOutput(out.String() + messages.String())
	if code := cmd.ProcessState.ExitCode(); code != want {
		return "", fmt.Errorf("exit code %d, want %d", code, want)
	}
	return out.String(), nil
}

func show(command string) { fmt.Println("   $ " + command) }

func tellOutput(text string) {
	for line := range strings.Lines(text) {
		fmt.Println("     " + strings.TrimRight(line, "\n"))
	}
}

func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if strings.ContainsAny(a, "* '\"") {
			a = "'" + a + "'"
		}
		out[i] = a
	}
	return out
}
