package ledger

import "testing"

func TestShardOfURL(t *testing.T) {
	for url, want := range map[string]struct {
		shard uint64
		ok    bool
	}{
		"http://ca.test:8080/crl/issuing/3.crl":        {3, true},
		"3.crl":                                        {3, true},
		"http://ca.test/crl/issuing/70000.crl":         {70000, true},
		"http://ca.test/crl/issuing/root.crl":          {},
		"http://ca.test/crl/issuing/-3.crl":            {},
		"http://ca.test/crl/issuing/3":                 {},
		"http://ca.test/crl/issuing/3.crl/":            {},
		"ldap://ca.test/cn=CA?certificateRevocation/3": {},
		"": {},
	} {
		if shard, ok := shardOfURL(url); shard != want.shard || ok != want.ok {
			t.Errorf("%q: %d, %v", url, shard, ok)
		}
	}
}

// FuzzShardOf: where x509 reads the extension too, both see the same.
func FuzzShardOf(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, tbs []byte) {
		shard, ok := shardOf(tbs)
		cert, err := parseTBS(tbs)
		if err != nil || !ok {
			return
		}
		for _, url := range cert.CRLDistributionPoints {
			if same, ok := shardOfURL(url); ok && same == shard {
				return
			}
		}
		t.Errorf("shard %d is not in %q", shard, cert.CRLDistributionPoints)
	})
}
