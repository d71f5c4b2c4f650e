package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"syscall"
	"testing"
	"time"
)

// verificationCPU is the CPU time of one P-256 verification now.
func verificationCPU(tb testing.TB) time.Duration {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	digest := sha256.Sum256([]byte("V"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	check(tb, err)
	const n = 3000
	before := ownCPU(tb)
	for range n {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			tb.Fatal("a good signature does not verify")
		}
	}
	return (ownCPU(tb) - before) / n
}

// ownCPU is the CPU time that this process has used.
func ownCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	check(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
