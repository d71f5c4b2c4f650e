package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// world is the real program, running: a development CA with free ports in a folder
// that is gone afterwards. The first test that needs it starts it.
type world struct {
	dir, binary         string
	https, grpc, metric string
	server              *exec.Cmd
	exited              chan struct{}
	log                 bytes.Buffer
}

var ca = sync.OnceValue(func() *world {
	w, err := newWorld()
	if err != nil {
		panic(err)
	}
	return w
})

var started bool

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		w := ca()
		w.stop()
		_ = os.RemoveAll(w.dir)
	}
	os.Exit(code) //nolint:forbidigo // the code of the tests, after the program has ended
}

func newWorld() (*world, error) {
	dir, err := os.MkdirTemp("", "cw")
	if err != nil {
		return nil, err
	}
	started = true
	w := &world{dir: dir, binary: filepath.Join(dir, "certwright")}
	if err := look(); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", w.binary, "../cmd/certwright")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath") // as make build does: one cache
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := freeAddresses(&w.https, &w.grpc, &w.metric); err != nil {
		return nil, err
	}
	return w, w.start()
}

// look reads when each source of the program was changed. The Go command keeps a test's
// result until a file changes that the test itself has looked at; what go build reads
// does not count.
func look() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || entry.IsDir() {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
}

// freeAddresses are addresses of which no two are the same.
func freeAddresses(addresses ...*string) error {
	for _, address := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // only when all are known
		*address = l.Addr().String()
	}
	return nil
}

func (w *world) start() error {
	w.log.Reset()
	w.server = exec.Command(w.binary, "serve", "--dev", "--https", w.https, "--grpc", w.grpc, "--http", "127.0.0.1:0", "--metrics", w.metric)
	w.server.Dir, w.server.Stdout, w.server.Stderr = w.dir, &w.log, &w.log
	if err := w.server.Start(); err != nil {
		return err
	}
	w.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(w.server, w.exited)
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get("http://" + w.metric + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-w.exited:
			return fmt.Errorf("the server ended: %s", w.log.String())
		case <-limit:
			return errors.New("the server is not ready after a minute")
		case <-tick.C:
		}
	}
}

func (w *world) stop() {
	if w.server == nil {
		return
	}
	_ = w.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.exited:
	case <-time.After(20 * time.Second):
		_ = w.server.Process.Kill()
		<-w.exited
	}
	w.server = nil
}

// run runs the command line in the world's folder.
func (w *world) run(args ...string) (string, error) {
	cmd := exec.Command(w.binary, args...)
	cmd.Dir = w.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("certwright %v: %w: %s", args, err, stderr.String())
	}
	return string(out), nil
}

// root is the root's file.
func (w *world) root() string { return filepath.Join(w.dir, "certwright-data", "root.crt") }

// token is a new file with a join token for *.team-a.internal.
func (w *world) token(uses int) string {
	f, err := os.CreateTemp(w.dir, "token-*")
	if err != nil {
		panic(err)
	}
	_ = f.Close()
	_, err = w.run("token", "create", "--owner", "team-a", "--profile", "mtls", "--dns", "*.team-a.internal", "--uses", fmt.Sprint(uses), "--out", f.Name(), "--force")
	if err != nil {
		panic(err)
	}
	return f.Name()
}
