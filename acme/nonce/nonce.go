// Package nonce makes the anti-replay nonces of ACME (RFC 8555 §6.5) without
// storing any: a nonce names the run of the server that made it, its number and
// its time, under an authentication code. That it is used once is seen by one bit
// in a window of bounded size.
package nonce

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"time"
)

// Bounds of a Source's Config.
const (
	DefaultLifetime = time.Hour
	DefaultWindow   = 1 << 22 // bits: 512 KiB
)

// The layout of a nonce: run[8] of the server's instance, run[8] of its boot,
// number, seconds, code.
const (
	bootSize = 16
	bodySize = bootSize + 8 + 8
	codeSize = 16
	size     = bodySize + codeSize
)

// ErrUsed, ErrExpired and ErrForeign say why a nonce is not accepted; a client
// takes a fresh one in every case.
var (
	ErrUsed    = errors.New("the nonce has been used")
	ErrExpired = errors.New("the nonce is too old")
	ErrForeign = errors.New("the nonce is not of this server's run")
)

// Config of a Source. Its zero value is useful.
type Config struct {
	Server   [8]byte          // names the server's instance
	Lifetime time.Duration    // 0: DefaultLifetime
	Window   int              // how many of the newest nonces can be used; 0: DefaultWindow
	Now      func() time.Time // nil: time.Now
}

// Source makes nonces and takes each once. It is safe for concurrent use.
type Source struct {
	boot     [bootSize]byte
	key      [32]byte
	codes    sync.Pool // of HMACs with the key
	lifetime time.Duration
	now      func() time.Time

	mu   sync.Mutex
	next uint64   // number of the next nonce
	used []uint64 // bits of the newest nonces, by number modulo their count
}

// New begins a run: its key and name are new.
func New(cfg Config) *Source {
	s := &Source{lifetime: cfg.Lifetime, now: cfg.Now}
	if s.lifetime <= 0 {
		s.lifetime = DefaultLifetime
	}
	if s.now == nil {
		s.now = time.Now
	}
	window := cfg.Window
	if window <= 0 {
		window = DefaultWindow
	}
	s.used = make([]uint64, (window+63)/64)
	copy(s.boot[:], cfg.Server[:])
	_, _ = rand.Read(s.boot[8:]) // never fails
	_, _ = rand.Read(s.key[:])
	s.codes.New = func() any { return hmac.New(sha256.New, s.key[:]) }
	return s
}

// Make is a fresh nonce in base64url.
func (s *Source) Make() string {
	s.mu.Lock()
	number := s.next
	s.next++
	slot := number % s.bits()
	s.used[slot/64] &^= 1 << (slot % 64) // it was that of a nonce that has left the window
	s.mu.Unlock()
	raw := make([]byte, 0, size)
	raw = append(raw, s.boot[:]...)
	raw = binary.BigEndian.AppendUint64(raw, number)
	raw = binary.BigEndian.AppendUint64(raw, uint64(s.now().Unix()))
	return base64.RawURLEncoding.EncodeToString(append(raw, s.code(raw)...))
}

// Use takes a nonce; of many calls with one nonce exactly one returns nil.
func (s *Source) Use(nonce string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(raw) != size || [bootSize]byte(raw) != s.boot {
		return ErrForeign
	}
	if !hmac.Equal(raw[bodySize:], s.code(raw[:bodySize])) {
		return ErrForeign
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(raw[bootSize+8:])), 0)
	if s.now().Sub(made) > s.lifetime {
		return ErrExpired
	}
	number := binary.BigEndian.Uint64(raw[bootSize:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if number >= s.next || s.next-number > s.bits() {
		return ErrExpired
	}
	slot := number % s.bits()
	if s.used[slot/64]&(1<<(slot%64)) != 0 {
		return ErrUsed
	}
	s.used[slot/64] |= 1 << (slot % 64)
	return nil
}

func (s *Source) bits() uint64 { return uint64(len(s.used)) * 64 }

func (s *Source) code(body []byte) []byte {
	h, _ := s.codes.Get().(hash.Hash)
	defer s.codes.Put(h)
	h.Reset()
	h.Write(body)
	return h.Sum(nil)[:codeSize]
}
