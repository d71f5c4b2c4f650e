package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"

	"github.com/certwright/certwright/problem"
)

func mustRSA(t testing.TB, bits int) *rsa.PublicKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// modulus multiplies p and q until the product has the size.
func modulus(t testing.TB, bits int, primes func() (p, q *big.Int)) *rsa.PublicKey {
	t.Helper()
	for {
		p, q := primes()
		if n := new(big.Int).Mul(p, q); n.BitLen() == bits && p.Cmp(q) != 0 {
			return &rsa.PublicKey{N: n, E: 65537}
		}
	}
}

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closePrimes are a prime and one of the next after it.
func closePrimes(t testing.TB) (p, q *big.Int) {
	p = prime(t, 1024)
	q = new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(10) {
		q.Add(q, big.NewInt(2))
	}
	return p, q
}

// rocaPrime is k·M + (65537^a mod M): the shape of the broken generator's
// primes; that it be prime does not matter to the fingerprint.
func rocaLike(t testing.TB) *big.Int {
	t.Helper()
	m := big.NewInt(1)
	for p := int64(2); p <= 701; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			m.Mul(m, big.NewInt(p))
		}
	}
	a, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 60))
	if err != nil {
		t.Fatal(err)
	}
	r := new(big.Int).Exp(big.NewInt(65537), a, m)
	k := new(big.Int).Div(prime(t, 1024), m)
	return r.Add(r, k.Mul(k, m))
}

func TestCheckPublic(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	good := mustRSA(t, 2048)
	even := new(big.Int).Lsh(big.NewInt(1), 2047)
	tests := []struct {
		name   string
		pub    crypto.PublicKey
		reason string // "": good
	}{
		{"P-256", p256.Public(), ""},
		{"P-384", p384.Public(), ""},
		{"Ed25519", ed, ""},
		{"RSA 2048", good, ""},
		{"RSA 3072", mustRSA(t, 3072), ""},
		{"P-224", p224.Public(), "KEY_CURVE"},
		{"P-521", p521.Public(), "KEY_CURVE"},
		{"no curve", &ecdsa.PublicKey{}, "KEY_CURVE"},
		{"not on the curve", &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, "KEY_CURVE"}, //nolint:staticcheck // a key as no constructor makes it
		{"short Ed25519", ed[:31], "KEY_SIZE"},
		{"RSA 1024", mustRSA(t, 1024), "KEY_SIZE"},
		{"RSA 2056", modulus(t, 2056, func() (p, q *big.Int) { return prime(t, 1028), prime(t, 1028) }), "KEY_SIZE"},
		{"no modulus", &rsa.PublicKey{E: 65537}, "KEY_SIZE"},
		{"negative modulus", &rsa.PublicKey{N: new(big.Int).Neg(good.N), E: 65537}, "KEY_SIZE"},
		{"exponent 3", &rsa.PublicKey{N: good.N, E: 3}, "KEY_EXPONENT"},
		{"exponent 65539", &rsa.PublicKey{N: good.N, E: 65539}, "KEY_EXPONENT"},
		{"even", &rsa.PublicKey{N: even, E: 65537}, "KEY_SMALL_FACTOR"},
		{"factor 751", modulus(t, 2048, func() (p, q *big.Int) { return big.NewInt(751), new(big.Int).Mul(prime(t, 1019), prime(t, 1019)) }), "KEY_SMALL_FACTOR"},
		{"factor 757", modulus(t, 2048, func() (p, q *big.Int) { return big.NewInt(757), new(big.Int).Mul(prime(t, 1019), prime(t, 1019)) }), ""},
		{"close primes", modulus(t, 2048, func() (p, q *big.Int) { return closePrimes(t) }), "KEY_CLOSE_PRIMES"},
		{"square", &rsa.PublicKey{N: func() *big.Int {
			for {
				p := prime(t, 1024)
				if n := new(big.Int).Mul(p, p); n.BitLen() == 2048 {
					return n
				}
			}
		}(), E: 65537}, "KEY_CLOSE_PRIMES"},
		{"ROCA", modulus(t, 2048, func() (p, q *big.Int) { return rocaLike(t), rocaLike(t) }), "KEY_ROCA"},
		{"not a key", "key", "KEY_TYPE"},
		{"nil", nil, "KEY_TYPE"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := CheckPublic(test.pub)
			if test.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var p *problem.Problem
			if !errors.As(err, &p) || p.Kind != problem.BadCSR || p.Reason != test.reason {
				t.Errorf("%v, want %s", err, test.reason)
			}
		})
	}
}

// TestFermatRounds: N = a² − b² with a exactly that many steps above √N.
func TestFermatRounds(t *testing.T) {
	// With p = s − d and q = s + d, N = s² − d²; a reaches s after about
	// d²/2s steps from √N: choose d for the wanted number of steps.
	for steps, want := range map[int64]bool{1: true, 50: true, 100: true, 125: false} {
		s := new(big.Int).Lsh(big.NewInt(3), 1022)
		s.SetBit(s, 0, 1)
		d := new(big.Int).Sqrt(new(big.Int).Mul(s, big.NewInt(2*steps)))
		n := new(big.Int).Sub(new(big.Int).Mul(s, s), new(big.Int).Mul(d, d))
		if got := hasClosePrimes(n); got != want {
			t.Errorf("%d steps away: %v", steps, got)
		}
	}
}

func BenchmarkCheckPublic(b *testing.B) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for name, pub := range map[string]crypto.PublicKey{"P-256": p256.Public(), "RSA-2048": mustRSA(b, 2048), "RSA-4096": mustRSA(b, 4096)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := CheckPublic(pub); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
