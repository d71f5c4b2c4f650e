package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

// asCSR is a CSR in PEM.
func asCSR(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// request is a CSR of a key, with extensions, signed by whatever sign does:
// what crypto/x509 does not make.
func request(t *testing.T, public crypto.PublicKey, sign func(tbs []byte) ([]byte, error), algorithm asn1.ObjectIdentifier, extensions ...pkix.Extension) string {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(public)
	check(t, err)
	attribute := struct {
		Type   asn1.ObjectIdentifier
		Values [][]pkix.Extension `asn1:"set"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}, [][]pkix.Extension{extensions}}
	encoded, err := asn1.MarshalWithParams(attribute, "")
	check(t, err)
	tbs, err := asn1.Marshal(struct {
		Version    int
		Subject    pkix.RDNSequence
		Key        asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}{0, nil, asn1.RawValue{FullBytes: spki}, []asn1.RawValue{{FullBytes: encoded}}})
	check(t, err)
	signature, err := sign(tbs)
	check(t, err)
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: algorithm}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	check(t, err)
	return asCSR(der)
}

var (
	ecdsaWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	rsaWithSHA256   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

// signer signs with SHA-256.
func signer(key crypto.Signer) func([]byte) ([]byte, error) {
	return func(tbs []byte) ([]byte, error) {
		digest := sha256.Sum256(tbs)
		return key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
}

// names is a subjectAltName of GeneralNames in DER.
func names(t *testing.T, general ...asn1.RawValue) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal(general)
	check(t, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}

func generalDNS(name string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(name)}
}

// smallExponent is an RSA key with e = 3, which crypto/rsa does not make.
func smallExponent(t *testing.T) (*rsa.PublicKey, func([]byte) ([]byte, error)) {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		check(t, err)
		q, err := rand.Prime(rand.Reader, 1024)
		check(t, err)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(three, phi)
		if d == nil {
			continue
		}
		public := &rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3}
		return public, func(tbs []byte) ([]byte, error) { // PKCS #1 v1.5 (RFC 8017 §9.2)
			digest := sha256.Sum256(tbs)
			info := append([]byte{0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}, digest[:]...)
			padded := append([]byte{0, 1}, make([]byte, public.Size()-len(info)-3)...)
			for i := 2; i < len(padded); i++ {
				padded[i] = 0xff
			}
			m := new(big.Int).SetBytes(append(append(padded, 0), info...))
			return new(big.Int).Exp(m, d, public.N).FillBytes(make([]byte, public.Size())), nil
		}
	}
}

// smallRSA is a self-made 1024-bit key: crypto/rsa refuses to make one.
func smallRSA(t *testing.T) string {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 512)
	check(t, err)
	q, err := rand.Prime(rand.Reader, 512)
	check(t, err)
	public := &rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}
	garbage := func([]byte) ([]byte, error) { return make([]byte, 128), nil }
	return request(t, public, garbage, rsaWithSHA256, names(t, generalDNS("a.team-a.internal")))
}

// badCSR is a CSR that is refused, with the status and reason of the refusal.
type badCSR struct {
	name, csr string
	status    int
	reason    string
}

func badCSRs(t *testing.T) []badCSR {
	key := newKey(t)
	good := csrPEM(t, key, "a.team-a.internal")
	flipped := decodePEM(good)
	flipped[len(flipped)-1] ^= 1
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.team-a.internal", i)
	}
	exponent3, sign3 := smallExponent(t)
	ec := func(general ...asn1.RawValue) string {
		return request(t, key.Public(), signer(key), ecdsaWithSHA256, names(t, general...))
	}
	otherName := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{6, 3, 0x2a, 3, 4, 0xa0, 3, 12, 1, 'x'}}
	return []badCSR{
		{"nothing", "", 400, "FIELD_INVALID"},
		{"garbage", "garbage", 400, "FIELD_INVALID"},
		{"garbage in PEM", asCSR([]byte("garbage")), 400, "CSR_UNREADABLE"},
		{"a certificate", strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"), 400, "CSR_UNREADABLE"},
		{"cut off", asCSR(decodePEM(good)[:100]), 400, "CSR_UNREADABLE"},
		{"17 KiB", asCSR(make([]byte, 17<<10)), 400, "CSR_TOO_LARGE"},
		{"100 KiB", strings.Repeat("A", 100<<10), 400, "FIELD_INVALID"},
		{"4 MiB", strings.Repeat("A", 4<<20), 413, "BODY_TOO_LARGE"},
		{"badly signed", asCSR(flipped), 400, "CSR_SIGNATURE"},
		{"RSA 1024", smallRSA(t), 400, "KEY_SIZE"},
		{"RSA with e = 3", request(t, exponent3, sign3, rsaWithSHA256, names(t, generalDNS("a.team-a.internal"))), 400, "KEY_EXPONENT"},
		{"otherName", ec(generalDNS("a.team-a.internal"), otherName), 400, "NAME_TYPE"},
		{"an unknown type of name", ec(generalDNS("a.team-a.internal"), asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 9, Bytes: []byte("x")}), 400, "NAME_TYPE"},
		{"NUL in a name", ec(generalDNS("a.team-a.internal\x00.example.com")), 400, "NAME_FORM"},
		{"101 names", csrPEM(t, key, many...), 400, "TOO_MANY_NAMES"},
		{"no names", csrPEM(t, key), 400, "CSR_NO_NAMES"},
		{"a name that is not granted", csrPEM(t, key, "a.team-a.internal", "evil.example.com"), 403, "NAME_NOT_ALLOWED"},
	}
}

// TestBadCSRs: over REST each is refused with its reason, nothing of it is in the
// ledger, the server lives, and the token has not been used.
func TestBadCSRs(t *testing.T) {
	s := newServer(t)
	s.start()
	token := s.token()
	bad := badCSRs(t)
	before := s.entries()
	for _, test := range bad {
		t.Run(test.name, func(t *testing.T) {
			code, header, answer := s.sign(token, test.csr)
			var p struct {
				Status         int
				Detail, Reason string
				Violations     []struct{ Reason string }
			}
			if err := json.Unmarshal([]byte(answer), &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %s: %v", code, answer, err)
			}
			reasons := []string{p.Reason}
			for _, v := range p.Violations {
				reasons = append(reasons, v.Reason)
			}
			if code != test.status || p.Status != code || p.Detail == "" || !strings.Contains(strings.Join(reasons, " "), test.reason) {
				t.Errorf("%d, want %d %s\n%s", code, test.status, test.reason, answer)
			}
		})
	}
	if after := s.entries(); after != before {
		t.Errorf("the ledger has %d entries, it had %d", after, before)
	}
	if panics := s.metric("certwright_panics_total"); panics != "0" {
		t.Errorf("%s panics", panics)
	}
	if code, _, answer := s.sign(token, csrPEM(t, newKey(t), "a.team-a.internal")); code != http.StatusOK {
		t.Errorf("a good request afterwards: %d %s", code, answer)
	}
	if after := s.entries(); after == before {
		t.Errorf("the count of entries does not move: %d", after)
	}
}

// sign asks for a certificate over REST.
func (s *server) sign(token, csr string) (int, http.Header, string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"csr": csr, "profile": "server"})
	check(s.t, err)
	return s.rest("POST", "/v1/certificates:sign", "Bearer "+token, string(body))
}

// entries is how many entries the ledger has.
func (s *server) entries() uint64 {
	s.t.Helper()
	var report struct{ Entries uint64 }
	check(s.t, json.Unmarshal([]byte(s.must(s.t.TempDir(), "ledger", "verify", "-o", "json")), &report))
	return report.Entries
}

// metric is the value of a metric without labels.
func (s *server) metric(name string) string {
	s.t.Helper()
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	check(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(s.t, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	s.t.Fatalf("no metric %s", name)
	return ""
}
