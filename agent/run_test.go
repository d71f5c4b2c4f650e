package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/agent/source"
)

// bubble is an issuer inside a synctest bubble, where there are no sockets: its time
// is the bubble's.
type bubble struct {
	ca   *agenttest.CA
	mu   sync.Mutex
	down bool
	life time.Duration
	asks []time.Time // requests for certificates
	got  []time.Time // of them, those that were answered
}

// Obtain implements issuer.
func (b *bubble) Obtain(_ context.Context, r source.Request) (source.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.asks = append(b.asks, now)
	if b.down {
		return source.Answer{}, errors.New("nobody answers")
	}
	b.got = append(b.got, now)
	leaf := b.ca.SignFor(r.CSR.PublicKey, now, now.Add(b.life), r.CSR.DNSNames...)
	return source.Answer{Certificate: agenttest.PEM(leaf), Chain: agenttest.PEM(b.ca.Issuer)}, nil
}

// Window implements issuer: from two thirds to three quarters of the life.
func (b *bubble) Window(_ context.Context, h *folder.Held) (source.Window, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return source.Window{}, errors.New("nobody answers")
	}
	start := h.Leaf().NotBefore.Add(b.life * 2 / 3)
	return source.Window{Start: start, End: start.Add(b.life / 12), AskAgain: b.life / 20}, nil
}

func (b *bubble) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// inBubble is an agent with the certificates of the file, all from b.
func inBubble(t *testing.T, b *bubble, more string) *Agent {
	t.Helper()
	dir := t.TempDir()
	b.ca = agenttest.New(t)
	b.ca.RootFile(dir)
	c, err := config.Parse(filepath.Join(dir, "agent.yaml"), []byte("state: state\nserver: none\nca_file: root.crt\ncertificates:\n  - name: web\n    names: [web.internal]\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(Options{Config: c, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range a.keepers {
		k.issuer = b
	}
	return a
}

// running runs the agent until the answered function is called.
func running(t *testing.T, a *Agent) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	}
}

// TestOutlivesOutage: renewals come in their window; through an outage of three lives
// the agent goes on trying, six times an hour at most, and soon after it there is a
// certificate again.
func TestOutlivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{life: time.Hour}
		a := inBubble(t, b, "")
		stop := running(t, a)
		defer stop()
		time.Sleep(10 * time.Hour) //nolint:forbidigo // the bubble's time
		b.mu.Lock()
		if n := len(b.got); n < 13 || n > 15 {
			t.Errorf("%d certificates in ten hours", n)
		}
		for i := 1; i < len(b.got); i++ {
			// The certificates' times are whole seconds: a window may begin one earlier.
			if gap := b.got[i].Sub(b.got[i-1]); gap < 40*time.Minute-time.Second || gap > 46*time.Minute {
				t.Errorf("renewed after %v", gap)
			}
		}
		before, from := len(b.got), time.Now()
		b.asks = nil
		b.mu.Unlock()
		b.set(true)
		time.Sleep(3 * time.Hour) //nolint:forbidigo // the bubble's time
		if s := a.Status().Certificates[0]; s.State != Expired || s.Failures < 6 || s.LastError != "nobody answers" || s.NextAttempt.After(time.Now().Add(time.Hour)) {
			t.Errorf("in the outage: %+v", s)
		}
		b.set(false)
		time.Sleep(25 * time.Minute) //nolint:forbidigo // the bubble's time
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.got) != before+1 {
			t.Errorf("%d certificates after the outage", len(b.got)-before)
		}
		for i := range b.asks {
			if i >= 6 && b.asks[i].Sub(b.asks[i-6]) < time.Hour {
				t.Errorf("seven attempts in %v", b.asks[i].Sub(b.asks[i-6]))
			}
		}
		if len(b.asks) < 10 {
			t.Errorf("%d attempts since %v", len(b.asks), from)
		}
		if s := a.Status().Certificates[0]; s.State != Valid || s.LastError != "" {
			t.Errorf("after the outage: %+v", s)
		}
	})
}

// TestHook: it is told what it needs; one that fails is run again, later and later,
// and the certificate stays.
func TestHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out")
		b := &bubble{life: 24 * time.Hour}
		a := inBubble(t, b, `
    hook:
      command: [sh, -c, 'env | grep ^CERTWRIGHT_ | sort >`+out+`; test -e `+out+`.ok']
`)
		stop := running(t, a)
		defer stop()
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
		s := a.Status().Certificates[0]
		if s.State != HookFails || !strings.Contains(s.HookError, "exit status 1") || len(b.got) != 1 {
			t.Errorf("%+v", s)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		dir := a.keepers[0].config.Folder
		for _, want := range []string{
			"CERTWRIGHT_NAME=web\n", "CERTWRIGHT_KEY=" + dir + "/key.pem\n", "CERTWRIGHT_FULLCHAIN=" + dir + "/fullchain.pem\n", "CERTWRIGHT_COMBINED=\n",
			"CERTWRIGHT_SERIAL=" + s.Serial + "\n", "CERTWRIGHT_NOT_AFTER=" + s.NotAfter.Format(time.RFC3339) + "\n", "CERTWRIGHT_DNS_NAMES=web.internal\n",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the hook was told\n%swant %s", text, want)
			}
		}
		if err := os.WriteFile(out+".ok", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's time
		if s := a.Status().Certificates[0]; s.State != Valid || s.HookError != "" || len(b.got) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestHookHasItsTime: the agent's end is not that of a hook that runs.
func TestHookHasItsTime(t *testing.T) {
	dir := t.TempDir()
	b := &bubble{life: 24 * time.Hour}
	a := inBubble(t, b, `
    hook: {command: [sh, -c, 'touch `+dir+`/begun; while [ ! -e `+dir+`/go ]; do sleep 0.05; done; touch `+dir+`/ended']}
`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	wait(t, func() bool { _, err := os.Stat(dir + "/begun"); return err == nil })
	cancel()
	select {
	case err := <-done:
		t.Fatalf("the agent ended before its hook: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/ended"); err != nil {
		t.Error("the hook was ended")
	}
	a.Close()
}

// wait waits for what must come.
func wait(t *testing.T, what func() bool) {
	t.Helper()
	for range 6000 {
		if what() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("it did not come in a minute")
}

// TestReload: the file is read again on a signal; one with faults is not used.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{life: 24 * time.Hour}
		a := inBubble(t, b, "")
		reload := make(chan os.Signal)
		good := *a.config
		good.Certificates = append([]config.Certificate(nil), good.Certificates...)
		second := good.Certificates[0]
		second.Name, second.Folder = "db", filepath.Join(filepath.Dir(second.Folder), "db")
		good.Certificates = append(good.Certificates, second)
		moved := good
		moved.State = t.TempDir()
		answers := []func() (*config.Config, error){
			func() (*config.Config, error) { return nil, errors.New("line 1: nonsense\nline 2: more") },
			func() (*config.Config, error) { return &moved, nil },
			func() (*config.Config, error) { return &good, nil },
		}
		n := 0
		a.options.Reload, a.options.Load = reload, func() (*config.Config, error) { n++; return answers[n-1]() }
		stop := running(t, a)
		defer stop()
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
		var since time.Time
		for want := range 3 {
			reload <- os.Interrupt
			synctest.Wait()
			s, err := ReadStatus(a.config.State, time.Now())
			if err != nil || len(s.Certificates) != []int{1, 1, 2}[want] {
				t.Errorf("reload %d: %+v %v", want, s, err)
				continue
			}
			// It says why, and since when: from the first fault to the file that is used.
			if why := []string{"line 1: nonsense; line 2: more", "state and metrics change with a restart only", ""}[want]; s.Refusal != why ||
				strings.Contains(a.summary(), "the new file has faults and is not used") != (why != "") {
				t.Errorf("reload %d: %q, %s", want, s.Refusal, a.summary())
			}
			switch want {
			case 0:
				since = s.RefusedSince
			case 1:
				if since.IsZero() || !s.RefusedSince.Equal(since) {
					t.Errorf("since %v, and then %v", since, s.RefusedSince)
				}
			case 2:
				if !s.RefusedSince.IsZero() {
					t.Errorf("since %v", s.RefusedSince)
				}
			}
			registry := prometheus.NewPedanticRegistry()
			if err := registry.Register(a); err != nil {
				t.Fatal(err)
			}
			all, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range all {
				if family.GetName() == "certwright_agent_file_refused_seconds" {
					if value := family.GetMetric()[0].GetGauge().GetValue(); (value == 0) != s.RefusedSince.IsZero() || value > 0 && int64(value) != since.Unix() {
						t.Errorf("reload %d: the metric is %v", want, value)
					}
				}
			}
			time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
		}
		if s := a.Status().Certificates[0]; s.State != Valid || len(b.got) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSignal(t *testing.T) {
	dir := t.TempDir()
	b := &bubble{life: time.Hour}
	a := inBubble(t, b, "    reload: {signal: HUP, pid_file: "+dir+"/pid}\n")
	defer a.Close()
	k := a.keepers[0]
	for content, want := range map[string]string{"": "no number", "x": "no number", "0": "no number", "-1": "no number", "1": "no number", "4194304999": "no", strings.Repeat("9", 40): "too large"} {
		if err := os.WriteFile(dir+"/pid", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.signal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}
