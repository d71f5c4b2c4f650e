package client

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"

	"github.com/certwright/certwright/client/schedule"
)

// asked is a wish with a token, for svc.internal.
func asked(p *paper) Wish {
	return Wish{
		CA:    Config{Server: "ca.internal", CAFile: p.file(), Token: func(context.Context) (string, error) { return "cwt_x", nil }},
		Names: []string{"svc.internal", "spiffe://internal/svc"},
	}
}

// kept opens a keeper in the bubble, with its events.
func (p *paper) kept(wish Wish) (*Keeper, *[]Event) {
	p.t.Helper()
	events := &[]Event{}
	wish.OnEvent = func(e Event) { *events = append(*events, e) }
	k, err := open(p.t.Context(), wish, p, schedule.Rules{})
	if err != nil {
		p.t.Fatal(err)
	}
	return k, events
}

func kinds(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.Kind))
	}
	return strings.Join(all, " ")
}

// TestRotates: over days a certificate of one hour is renewed in its window, with a new
// key each time, and never expires.
func TestRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		k, events := p.kept(asked(p))
		defer k.Close()
		var keys []any
		for range 48 * 60 {
			<-time.After(time.Minute)
			c, _ := k.GetCertificate(nil)
			if left := time.Until(c.Leaf.NotAfter); left < 14*time.Minute {
				t.Fatalf("a certificate with %s left is handed out", left)
			}
			if !slices.Contains(keys, any(c.PrivateKey)) {
				keys = append(keys, c.PrivateKey)
			}
		}
		if p.signs != 1 || p.renewals < 60 || p.renewals > 75 || len(keys) != p.renewals+1 {
			t.Errorf("%d signed, %d renewed in two days, %d keys", p.signs, p.renewals, len(keys))
		}
		if s := k.Status(); s.Failures != 0 || s.Err != nil || s.Expired() || s.Next.Before(time.Now()) || s.Leaf == nil {
			t.Errorf("%+v", s)
		}
		for i, e := range *events {
			if want := Renewed; i > 0 && e.Kind != want || e.Err != nil || e.Leaf == nil || !e.Next.After(e.Leaf.NotBefore) {
				t.Errorf("event %d: %+v", i, e)
			}
		}
	})
}

// TestOutage: while the CA does not answer the old certificate is handed out, and that
// is said; afterwards there is a new one, by the token if the old has expired.
func TestOutage(t *testing.T) {
	for name, test := range map[string]struct {
		outage time.Duration
		signs  int // in all
	}{
		"within the life":  {6 * time.Minute, 1},
		"beyond its end":   {3 * time.Hour, 2},
		"for a whole week": {7 * 24 * time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, time.Hour)
				k, events := p.kept(asked(p))
				defer k.Close()
				<-time.After(40 * time.Minute)
				before := p.renewals
				down := status.Error(codes.Unavailable, "no server answers")
				p.set(func(p *paper) { p.signErr, p.renewErr, p.windowErr = down, down, down })
				old, _ := k.GetCertificate(nil)
				<-time.After(test.outage)
				now, _ := k.GetCertificate(nil)
				s := k.Status()
				if now != old || s.Failures == 0 || !errors.Is(s.Err, down) && status.Code(s.Err) != codes.Unavailable || s.Expired() != (test.signs == 2) {
					t.Errorf("in the outage: %+v", s)
				}
				attempts := p.signs - 1 + p.renewals - before
				if most := 2 + int(test.outage/time.Hour)*schedule.DefaultTries + schedule.DefaultTries; attempts == 0 || attempts > most {
					t.Errorf("%d attempts in %s", attempts, test.outage)
				}
				signs := p.signs
				p.set(func(p *paper) { p.signErr, p.renewErr, p.windowErr = nil, nil, nil })
				<-time.After(75 * time.Minute)
				if s := k.Status(); s.Failures != 0 || s.Err != nil || s.Expired() {
					t.Errorf("after the outage: %+v", s)
				}
				if got := p.signs - signs + 1; got != test.signs {
					t.Errorf("%d times signed, %s", got, kinds(*events))
				}
			})
		})
	}
}

// TestRefused: what the CA does not renew any more is got by the token; without one it
// is asked for again and again.
func TestRefused(t *testing.T) {
	no := status.Error(codes.Unauthenticated, "CERTIFICATE_REVOKED")
	for name, err := range map[string]error{
		"answered": no, "by an alert": status.Error(codes.Unavailable, "connection error: remote error: tls: bad certificate"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, time.Hour)
				k, events := p.kept(asked(p))
				defer k.Close()
				<-time.After(time.Minute)
				p.set(func(p *paper) { p.windowErr, p.renewErr = err, err })
				first := k.Status().Leaf.SerialNumber
				<-time.After(30 * time.Minute) // long before it is due
				if k.Status().Leaf.SerialNumber.Cmp(first) == 0 || p.signs < 2 {
					t.Errorf("revoked, and %d signed: %s", p.signs, kinds(*events))
				}
				if p.signs > 6 {
					t.Errorf("%d certificates in half an hour", p.signs)
				}
			})
		})
	}
	t.Run("for a while, with a token that is used up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, time.Hour)
			k, events := p.kept(asked(p))
			defer k.Close()
			p.set(func(p *paper) { p.windowErr, p.renewErr, p.signErr = no, no, no })
			<-time.After(20 * time.Minute)
			if s := k.Status(); s.Failures == 0 {
				t.Errorf("%+v", s)
			}
			p.set(func(p *paper) { p.windowErr, p.renewErr = nil, nil })
			<-time.After(30 * time.Minute)
			if s := k.Status(); s.Err != nil || p.renewals == 0 || p.made < 2 {
				t.Errorf("%+v: %s", s, kinds(*events))
			}
		})
	})
	t.Run("perhaps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, time.Hour)
			k, _ := p.kept(asked(p))
			defer k.Close()
			p.set(func(p *paper) { p.renewErr = status.Error(codes.Unavailable, "error writing: broken pipe") })
			if err := k.Renew(t.Context()); err != nil || p.signs != 2 {
				t.Errorf("%v, %d signed", err, p.signs)
			}
			p.set(func(p *paper) { p.renewErr = nil })
			if err := k.Renew(t.Context()); err != nil || p.signs != 2 || p.renewals != 2 {
				t.Errorf("%v, %d signed, %d renewed", err, p.signs, p.renewals)
			}
		})
	})
	t.Run("without a token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, time.Hour)
			wish := asked(p)
			wish.Folder = t.TempDir()
			first, _ := p.kept(wish)
			first.Close()
			wish.CA.Token = nil
			k, events := p.kept(wish)
			defer k.Close()
			p.set(func(p *paper) { p.windowErr, p.renewErr = no, no })
			<-time.After(30 * time.Minute)
			if s := k.Status(); status.Code(s.Err) != codes.Unauthenticated || p.signs != 1 {
				t.Errorf("%+v, %d signed", s, p.signs)
			}
			p.set(func(p *paper) { p.windowErr, p.renewErr = nil, nil }) // the grant is there again
			<-time.After(25 * time.Minute)
			if s := k.Status(); s.Err != nil || p.renewals == 0 {
				t.Errorf("%+v: %s", s, kinds(*events))
			}
			p.set(func(p *paper) { p.renewErr = status.Error(codes.Unavailable, "down") })
			<-time.After(3 * time.Hour)
			if s := k.Status(); !s.Expired() || s.Err == nil || !strings.Contains(s.Err.Error(), "nor a token to get one") {
				t.Errorf("expired without a token: %+v", s)
			}
		})
	})
}

// TestLostAnswer: a request whose answer was lost is made again under its ID, for the
// same key, and has the same certificate.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		p.lose = true
		k, _ := p.kept(asked(p))
		defer k.Close()
		if len(p.ids) != 2 || p.ids[0] != p.ids[1] || p.made != 1 {
			t.Errorf("IDs %v, %d made", p.ids, p.made)
		}
		p.set(func(p *paper) { p.lose = true })
		if err := k.Renew(t.Context()); status.Code(err) != codes.Unavailable {
			t.Errorf("%v", err)
		}
		if err := k.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		if len(p.ids) != 4 || p.ids[2] != p.ids[3] || p.ids[1] == p.ids[2] || p.made != 2 {
			t.Errorf("IDs %v, %d made", p.ids, p.made)
		}
	})
}

// TestOpen: waits for a CA that is down as long as the caller does, and not for one
// that refuses.
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		slow, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		p.signErr = slow.Err()
		go func() {
			<-time.After(12 * time.Second)
			p.set(func(p *paper) { p.signErr = nil })
		}()
		began := time.Now()
		k, events := p.kept(asked(p))
		k.Close()
		if took := time.Since(began); took < 12*time.Second || took > 20*time.Second || p.signs != 4 {
			t.Errorf("%s, %d asked", took, p.signs)
		}
		if !strings.HasPrefix(kinds(*events), "failed failed failed obtained") {
			t.Error(kinds(*events))
		}
		if err := k.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}

		p.set(func(p *paper) { p.signErr = status.Error(codes.Unavailable, "down") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := open(ctx, asked(p), p, schedule.Rules{}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "down") {
			t.Errorf("a CA that is down: %v", err)
		}
		began = time.Now()
		for _, err := range []error{
			status.Error(codes.PermissionDenied, "no grant"), status.Error(codes.Unauthenticated, "no"),
			status.Error(codes.Unavailable, "transport: authentication handshake failed: tls: unknown authority"), errors.New("the token file is not there"),
		} {
			p.set(func(p *paper) { p.signErr = err })
			if _, got := open(t.Context(), asked(p), p, schedule.Rules{}); !errors.Is(got, err) {
				t.Errorf("%v, want %v", got, err)
			}
		}
		if time.Since(began) > 0 {
			t.Errorf("refusals are waited for: %s", time.Since(began))
		}
	})
}

// TestHostile: an answer that is not what was asked for is not handed out.
func TestHostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, time.Hour)
		other := newPaper(t, time.Hour)
		root, key := p.root, p.key
		k, err := open(t.Context(), asked(p), fixedRoots{p, root}, schedule.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		before := k.Status().Leaf
		for name, test := range map[string]struct {
			set  func(*paper)
			want string
		}{
			"other names": {func(p *paper) { p.twist = func(c *x509.Certificate) { c.DNSNames = []string{"evil.internal"} } }, "asked for was"},
			"fewer names": {func(p *paper) { p.twist = func(c *x509.Certificate) { c.URIs = nil } }, "asked for was"},
			"expired": {func(p *paper) {
				p.twist = func(c *x509.Certificate) {
					c.NotAfter = time.Now().Add(-time.Second)
					c.NotBefore = c.NotAfter.Add(-time.Hour)
				}
			}, "clock"},
			"a CA":         {func(p *paper) { p.twist = func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true } }, "of a CA"},
			"another root": {func(p *paper) { p.root, p.key = other.root, other.key }, "unknown authority"},
		} {
			p.set(func(p *paper) { p.twist, p.root, p.key = nil, root, key; test.set(p) })
			if err := k.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if k.Status().Leaf != before {
			t.Error("a refused certificate is handed out")
		}
	})
	wish := Wish{Names: []string{"a.internal"}}
	signer, err := NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	p := newPaper(t, time.Hour)
	for name, text := range map[string]string{
		"nothing": "", "garbage": "x", "no certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "endless": strings.Repeat("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 11),
	} {
		if _, err := wish.accept(signer, &certwrightv1.Certificate{Pem: text}, poolOf([]*x509.Certificate{p.root})); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// fixedRoots believes one root, whatever the CA signs by.
type fixedRoots struct {
	*paper
	believed *x509.Certificate
}

func (f fixedRoots) roots(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{f.believed}, nil
}

// TestOddWindow: a CA that suggests nothing, or nonsense, has the certificate renewed
// in its time, and not in a loop.
func TestOddWindow(t *testing.T) {
	for name, info := range map[string]*certwrightv1.RenewalInfo{
		"nothing": {}, "no end": {StartTime: timestamppb.New(time.Unix(0, 0))}, "no begin": {EndTime: timestamppb.New(time.Unix(1<<40, 0))},
		"never": {StartTime: timestamppb.New(time.Unix(1<<40, 0)), EndTime: timestamppb.New(time.Unix(1<<41, 0)), RetryAfter: durationpb.New(1 << 62)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, time.Hour)
				p.suggests = info
				k, _ := p.kept(asked(p))
				defer k.Close()
				<-time.After(24 * time.Hour)
				if k.Status().Expired() || p.renewals < 24 || p.renewals > 45 {
					t.Errorf("%d renewals in a day: %+v", p.renewals, k.Status())
				}
			})
		})
	}
}

func TestWishRefuses(t *testing.T) {
	p := newPaper(t, time.Hour)
	for name, change := range map[string]func(*Wish){
		"needs names":            func(w *Wish) { w.Names = nil },
		"roots are not known":    func(w *Wish) { w.CA.CAFile = "" },
		"less than a second":     func(w *Wish) { w.Validity = time.Millisecond },
		"is not one of ecdsa":    func(w *Wish) { w.Key = "dsa" },
		"no such file":           func(w *Wish) { w.CA.CAFile += "x" },
		"nor a token to get one": func(w *Wish) { w.CA.Token = nil },
		"is not https://":        func(w *Wish) { w.CA.Server = "http://x" },
	} {
		wish := asked(p)
		change(&wish)
		if _, err := Open(t.Context(), wish); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}
