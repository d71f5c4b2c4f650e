package judge_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/judge"
	"github.com/certwright/certwright/identity"
)

// TestFound: what is found is judged as an answer is, but that it may be old.
func TestFound(t *testing.T) {
	ca, other, key, now := agenttest.New(t), agenttest.New(t), agenttest.Key(t), time.Now()
	want := judge.Want{Public: key.Public(), Names: []identity.Identifier{{Type: identity.DNS, Value: "web.internal"}}, Roots: ca.Pool(), Now: now}
	lasts := func(from, to time.Duration) []*x509.Certificate {
		return []*x509.Certificate{ca.SignFor(key.Public(), now.Add(from), now.Add(to), "web.internal"), ca.Issuer}
	}
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		want  string
	}{
		"good":          {lasts(-time.Hour, time.Hour), ""},
		"nearly over":   {lasts(-time.Hour, time.Minute), ""},
		"over":          {lasts(-time.Hour, -time.Minute), "it ended at "},
		"not begun":     {lasts(time.Hour, 2*time.Hour), "it is valid from "},
		"no issuer":     {lasts(-time.Hour, time.Hour)[:1], "it is a certificate that does not lead to a trusted root"},
		"another CA":    {[]*x509.Certificate{other.Sign(key.Public(), nil, "web.internal"), other.Issuer, other.Root}, "does not lead to a trusted root"},
		"another key":   {ca.Held("web.internal").Chain, "it is a certificate for another key"},
		"another name":  {[]*x509.Certificate{ca.Sign(key.Public(), nil, "db.internal"), ca.Issuer}, "it is a certificate for \"db.internal\"; asked for was"},
		"the CA's own":  {[]*x509.Certificate{ca.Issuer}, "another key"},
		"a CA's of his": {[]*x509.Certificate{ca.Sign(key.Public(), func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "web.internal"), ca.Issuer}, "of a CA"},
	} {
		err := judge.Found(test.chain, want)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := judge.Leads(lasts(-time.Hour, -time.Minute), ca.Pool()); err != nil {
		t.Errorf("one that is over leads to its root: %v", err)
	}
	if err := judge.Leads(lasts(-time.Hour, time.Hour), other.Pool()); err == nil {
		t.Error("it leads to another root")
	}
}
