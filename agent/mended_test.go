package agent

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/agent/config"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// needsProfile refuses what names no profile.
func needsProfile(a asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
	if a.profile == "" {
		return nil, status.Error(codes.InvalidArgument, "which profile?")
	}
	return c, nil
}

// count is how many requests there were.
func (h *hostile) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.requests)
}

// with is the file with another profile.
func with(c *config.Config, profile string) *config.Config {
	other := *c
	other.Certificates = append([]config.Certificate(nil), c.Certificates...)
	other.Certificates[0].Profile = profile
	return &other
}

func openFor(t *testing.T, c *config.Config) *Agent {
	t.Helper()
	a, err := Open(Options{Config: c, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestMendedFileReload: what failed holds the same request up, and no other; a reload
// ends the wait of a certificate that is not there.
func TestMendedFileReload(t *testing.T) {
	h := newHostile(t)
	h.set(needsProfile)
	c := h.file(t, "")
	next := make(chan *config.Config, 1)
	reload := make(chan os.Signal)
	a := openFor(t, c)
	a.options.Reload, a.options.Load = reload, func() (*config.Config, error) { return <-next, nil }
	stop := running(t, a)
	defer stop()
	state := func() CertificateStatus { return a.Status().Certificates[0] }
	wait(t, func() bool { return state().Failures == 1 })
	// The same file: something else may have been mended.
	next <- c
	reload <- os.Interrupt
	wait(t, func() bool { return state().Failures == 2 })
	if n := h.count(); n != 2 {
		t.Errorf("%d attempts", n)
	}
	next <- with(c, "server")
	reload <- os.Interrupt
	wait(t, func() bool { return state().State == Valid })
	if s := state(); s.Failures != 0 || s.LastError != "" || h.count() != 3 {
		t.Errorf("%d attempts, %+v", h.count(), s)
	}
}

// TestMendedFileRestart: a restart with the same file waits on, one with another
// request does not, and shows nothing of the old one.
func TestMendedFileRestart(t *testing.T) {
	h := newHostile(t)
	h.set(needsProfile)
	c := h.file(t, "")
	a := openFor(t, c)
	if r, err := a.Obtain(t.Context(), nil, false); err != nil || r[0].Err == nil {
		t.Fatal(r, err)
	}
	a.Close()
	a = openFor(t, c)
	if s := a.Status().Certificates[0]; s.Failures != 1 || s.LastError == "" || !s.NextAttempt.After(time.Now()) {
		t.Errorf("the same file: %+v", s)
	}
	a.Close()
	a = openFor(t, with(c, "server"))
	if s := a.Status().Certificates[0]; s.Failures != 0 || s.LastError != "" || s.NextAttempt.After(time.Now()) || s.Tries != 1 {
		t.Errorf("another request: %+v", s)
	}
	stop := running(t, a)
	defer stop()
	wait(t, func() bool { return a.Status().Certificates[0].State == Valid })
}

// TestMendedFileGuard: as many attempts as an hour has are made, be the file changed
// as often as it may.
func TestMendedFileGuard(t *testing.T) {
	h := newHostile(t)
	h.set(func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
		return nil, status.Error(codes.PermissionDenied, "no")
	})
	c := h.file(t, "")
	c.TriesPerHour = 2
	for _, profile := range []string{"a", "b", "c", "d"} {
		a := openFor(t, with(c, profile))
		k := a.keepers[0]
		k.hurry(time.Now())
		k.step(context.Background())
		a.Close()
	}
	if n := h.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

// TestRequestOf: the digest is of all that is asked for.
func TestRequestOf(t *testing.T) {
	h := newHostile(t)
	base := h.file(t, "")
	digest := func(change func(*config.Config, *config.Certificate)) string {
		c := with(base, "server")
		change(c, &c.Certificates[0])
		got, err := requestOf(c, &c.Certificates[0], "order")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	seen := map[string]bool{digest(func(*config.Config, *config.Certificate) {}): true}
	for i, change := range []func(*config.Config, *config.Certificate){
		func(c *config.Config, _ *config.Certificate) { c.Server = "other:8444" },
		func(c *config.Config, _ *config.Certificate) { c.CAFile = "other.crt" },
		func(_ *config.Config, e *config.Certificate) { e.Auth = config.Auth{TokenFile: "other"} },
		func(_ *config.Config, e *config.Certificate) { e.Source = config.ACMESource },
		func(_ *config.Config, e *config.Certificate) { e.Key.Type = "ed25519" },
		func(_ *config.Config, e *config.Certificate) { e.Validity++ },
	} {
		if d := digest(change); seen[d] {
			t.Errorf("change %d is none", i)
		} else {
			seen[d] = true
		}
	}
	if d := digest(func(_ *config.Config, e *config.Certificate) { e.Mode = 0o640 }); !seen[d] {
		t.Error("permissions are no other request")
	}
}
