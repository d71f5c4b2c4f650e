package x509cert

import (
	"testing"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"

	"github.com/certwright/certwright/identity"
)

// TestLintScopes: a lint that is not run on a certificate without its extension
// would have said that it does not apply; it is run on one that has it.
func TestLintScopes(t *testing.T) {
	linter := newLinter(t)
	is, root := newIssuer(t, newECDSA(t), identity.Names{DNS: []string{".internal"}})
	w := newWant(t, is)
	tbs, err := Draft(w)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := is.assemble(tbs, is.placebo)
	if err != nil {
		t.Fatal(err)
	}
	skipped := map[string]bool{}
	for name, der := range map[string][]byte{"leaf": leaf, "issuer": is.cert.Raw, "root": root.Raw} {
		cert, err := zx509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range linter.sets {
			for _, z := range set.lints {
				if _, has := cert.ExtensionsMap[z.needs]; has || z.needs == "" {
					continue
				}
				skipped[z.Name] = true
				if r := z.Execute(cert, set.config); r.Status != lint.NA && r.Status != lint.NE {
					t.Errorf("%s says %s of the %s, which has not its extension", z.Name, r.Status, name)
				}
			}
		}
	}
	if len(skipped) < 20 {
		t.Errorf("%d lints have a scope: some of zlint's have other names now", len(skipped))
	}
	// The issuer has name constraints: who looks at them is not left out.
	for _, z := range linter.sets[LintRFC5280].lints {
		if z.needs != "2.5.29.30" {
			continue
		}
		cert, err := zx509.ParseCertificate(is.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, has := cert.ExtensionsMap[z.needs]; !has {
			t.Fatal("the issuer has no name constraints")
		}
		if r := z.Execute(cert, linter.sets[LintRFC5280].config); r.Status == lint.NA {
			t.Errorf("%s does not look at name constraints", z.Name)
		}
	}
}
