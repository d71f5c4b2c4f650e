package nonce

import (
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnce(t *testing.T) {
	s := New(Config{})
	nonce := s.Make()
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			switch err := s.Use(nonce); {
			case err == nil:
				passed.Add(1)
			case !errors.Is(err, ErrUsed):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1 {
		t.Errorf("%d have passed", passed.Load())
	}
}

func TestForeign(t *testing.T) {
	s, peer := New(Config{Server: [8]byte{1}}), New(Config{Server: [8]byte{1}})
	good := s.Make()
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if err := s.Use(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrForeign) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
	for _, nonce := range []string{"", "AAAA", "a b", good + "A", good[1:], peer.Make()} {
		if err := s.Use(nonce); !errors.Is(err, ErrForeign) {
			t.Errorf("%.20q: %v", nonce, err)
		}
	}
	if err := s.Use(good); err != nil {
		t.Error(err)
	}
}

func TestWindow(t *testing.T) {
	s := New(Config{Window: 64})
	old := s.Make()
	for range 63 {
		s.Make()
	}
	if err := s.Use(old); err != nil {
		t.Errorf("the oldest in the window: %v", err)
	}
	old = s.Make()
	for range 64 {
		s.Make()
	}
	if err := s.Use(old); !errors.Is(err, ErrExpired) {
		t.Errorf("out of the window: %v", err)
	}
	// A slot is free again for the nonce that takes it.
	for range 200 {
		if err := s.Use(s.Make()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Lifetime: time.Minute})
		first, second := s.Make(), s.Make()
		<-time.After(time.Minute)
		if err := s.Use(first); err != nil {
			t.Error(err)
		}
		<-time.After(2 * time.Second)
		if err := s.Use(second); !errors.Is(err, ErrExpired) {
			t.Error(err)
		}
	})
}

func FuzzUse(f *testing.F) {
	s := New(Config{})
	f.Add(s.Make())
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, nonce string) {
		if s.Use(nonce) != nil {
			return
		}
		if s.Use(nonce) == nil {
			t.Errorf("%q passes twice", nonce)
		}
	})
}
