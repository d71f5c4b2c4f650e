package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"

	"filippo.io/edwards25519"

	"github.com/certwright/certwright/problem"
)

const (
	fermatRounds   = 110 // as in the Baseline Requirements' guidance for close primes
	maxSmallFactor = 751
	maxROCAPrime   = 167
)

// CheckPublic says whether a public key is good enough to stand in a
// certificate or an account, for every profile alike: RSA of 2048, 3072 or 4096
// bits with exponent 65537, not made by the ROCA generator (CVE-2017-15361), not
// of close primes (110 rounds of Fermat's method), without a factor up to 751;
// ECDSA on P-256 or P-384; Ed25519. The error is a *problem.Problem of kind
// BadCSR with a reason code: KEY_TYPE, KEY_CURVE, KEY_SIZE, KEY_EXPONENT,
// KEY_ROCA, KEY_CLOSE_PRIMES, KEY_SMALL_FACTOR, KEY_POINT.
func CheckPublic(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return checkRSA(k)
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return bad("KEY_CURVE", curveName(k.Curve), "P-256, P-384", "the key's curve is not issued for")
		}
		if _, err := k.ECDH(); err != nil {
			return bad("KEY_CURVE", "", "", "the key's point is not on its curve")
		}
		return nil
	case ed25519.PublicKey:
		return checkEd25519(k)
	default:
		return bad("KEY_TYPE", fmt.Sprintf("%T", pub), "ECDSA P-256 or P-384, Ed25519, RSA", "this kind of key is not issued for")
	}
}

// checkEd25519 refuses what a signature proves nothing about: with a point of
// small order one signature verifies for every message.
func checkEd25519(k ed25519.PublicKey) error {
	if len(k) != ed25519.PublicKeySize {
		return bad("KEY_SIZE", fmt.Sprint(len(k)), fmt.Sprint(ed25519.PublicKeySize), "the key's length is wrong")
	}
	point, err := new(edwards25519.Point).SetBytes(k)
	if err != nil || !bytes.Equal(point.Bytes(), k) {
		return bad("KEY_POINT", "", "", "the key is not the one encoding of a point of edwards25519")
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return bad("KEY_POINT", "", "", "the key is a point of small order")
	}
	return nil
}

func bad(reason, value, allowed, detail string) error {
	return &problem.Problem{
		Kind: problem.BadCSR, Reason: reason, Rule: "public keys", Value: value, Detail: detail, Allowed: allowed,
		Help: "make a new key, for example ECDSA P-256",
	}
}

func curveName(c elliptic.Curve) string {
	if c == nil {
		return ""
	}
	return c.Params().Name
}

func checkRSA(k *rsa.PublicKey) error {
	if k.N == nil || k.N.Sign() <= 0 {
		return bad("KEY_SIZE", "0", "2048, 3072, 4096 bits", "the RSA key has no modulus")
	}
	switch bits := k.N.BitLen(); bits {
	case 2048, 3072, 4096:
	default:
		return bad("KEY_SIZE", fmt.Sprint(bits), "2048, 3072, 4096 bits", "the RSA key's size is not issued for")
	}
	if k.E != 65537 {
		return bad("KEY_EXPONENT", fmt.Sprint(k.E), "65537", "the RSA key's exponent is not issued for")
	}
	if isROCA(k.N) {
		return bad("KEY_ROCA", "", "", "the RSA key was made by a broken generator (CVE-2017-15361)")
	}
	if hasSmallFactor(k.N) {
		return bad("KEY_SMALL_FACTOR", "", "", fmt.Sprintf("the RSA modulus has a factor of at most %d", maxSmallFactor))
	}
	if hasClosePrimes(k.N) {
		return bad("KEY_CLOSE_PRIMES", "", "", "the RSA key's two primes are too close to each other")
	}
	return nil
}

// hasSmallFactor takes one GCD with the product of all primes up to 751.
func hasSmallFactor(n *big.Int) bool {
	return new(big.Int).GCD(nil, nil, n, smallPrimes().product).Cmp(big.NewInt(1)) != 0
}

// isROCA has the fingerprint of "The Return of Coppersmith's Attack" (Nemec et
// al., 2017), §5: modulo each small prime, N is a power of 65537.
func isROCA(n *big.Int) bool {
	table := smallPrimes()
	r := new(big.Int).Mod(n, table.rocaProduct)
	for _, t := range table.roca {
		m := new(big.Int).Mod(r, t.prime).Uint64()
		if !t.powers[m] {
			return false
		}
	}
	return true
}

// hasClosePrimes tries Fermat's method: N = a² − b² with a just above √N.
func hasClosePrimes(n *big.Int) bool {
	one := big.NewInt(1)
	a := new(big.Int).Sqrt(n)
	if new(big.Int).Mul(a, a).Cmp(n) == 0 {
		return true
	}
	a.Add(a, one)
	b2 := new(big.Int).Mul(a, a)
	b2.Sub(b2, n)
	root, square, step := new(big.Int), new(big.Int), new(big.Int)
	for range fermatRounds {
		if maySquare(b2) {
			root.Sqrt(b2)
			if square.Mul(root, root).Cmp(b2) == 0 {
				return true
			}
		}
		step.Lsh(a, 1) // (a+1)² − n = b2 + 2a + 1
		b2.Add(b2, step.Add(step, one))
		a.Add(a, one)
	}
	return false
}

// maySquare rules out most numbers by their last six bits: squares have one of
// 12 of the 64 patterns.
func maySquare(n *big.Int) bool {
	const squares = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57
	return n.Sign() == 0 || uint64(squares)>>(n.Bits()[0]&63)&1 == 1
}

// primeTable is what the RSA checks need of the small primes; never changed.
type primeTable struct {
	product     *big.Int // of the primes up to 751
	rocaProduct *big.Int // of those in roca
	roca        []rocaPrime
}

type rocaPrime struct {
	prime  *big.Int
	powers map[uint64]bool // of 65537, modulo prime
}

// smallPrimes is computed at first use: about 20 µs.
var smallPrimes = sync.OnceValue(func() primeTable {
	t := primeTable{product: big.NewInt(1), rocaProduct: big.NewInt(1)}
	for p := uint64(2); p <= maxSmallFactor; p++ {
		prime := new(big.Int).SetUint64(p)
		if !prime.ProbablyPrime(0) { // exact below 2^64
			continue
		}
		t.product.Mul(t.product, prime)
		if p == 2 || p > maxROCAPrime {
			continue
		}
		t.rocaProduct.Mul(t.rocaProduct, prime)
		powers := map[uint64]bool{}
		for x := uint64(1); !powers[x]; x = x * 65537 % p {
			powers[x] = true
		}
		t.roca = append(t.roca, rocaPrime{prime: prime, powers: powers})
	}
	return t
})
