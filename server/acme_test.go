package server

import (
	"errors"
	"runtime"
	"testing"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
	"github.com/certwright/certwright/server/config"
)

// TestValidationNetworks: what the configuration says of networks and ports is what
// validation contacts. The canaries must not be.
func TestValidationNetworks(t *testing.T) {
	canary := egresstest.Canary(t, "127.0.0.2:0")
	port := int(canary.Port())
	for _, test := range []struct {
		name        string
		allow, deny []string
		host        string
		port        int
		stage       egress.Stage
	}{
		{"denied", nil, []string{"127.0.0.2/32"}, "127.0.0.2", port, egress.StageRefused},
		{"denied, as IPv6", nil, []string{"127.0.0.2/32"}, "::ffff:127.0.0.2", port, egress.StageRefused},
		{"denied wins", []string{"127.0.0.0/8"}, []string{"127.0.0.2/32"}, "127.0.0.2", port, egress.StageRefused},
		{"not among the allowed", []string{"10.0.0.0/8"}, nil, "127.0.0.2", port, egress.StageRefused},
		{"metadata", []string{"0.0.0.0/0"}, nil, "169.254.169.254", port, egress.StageRefused},
		{"another port", nil, nil, "127.0.0.2", 22, egress.StageURL},
	} {
		c := config.Default()
		c.ACME.Networks.Allow, c.ACME.Networks.Deny = test.allow, test.deny
		c.ACME.HTTP01Port, c.ACME.TLSALPN01Port = port, port
		client, err := validationClient(&c)
		if err != nil {
			t.Fatal(err)
		}
		conn, _, err := client.Dial(t.Context(), test.host, test.port)
		var e *egress.Error
		if !errors.As(err, &e) || e.Stage != test.stage {
			t.Errorf("%s: %v", test.name, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// TestOfferedChallenges: those that are configured, in their order; dns-persist-01
// only if the CA has a name.
func TestOfferedChallenges(t *testing.T) {
	c := config.Default()
	client, err := validationClient(&c)
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(domains ...string) (kinds []string) {
		for _, v := range validators(&c, client, domains) {
			kinds = append(kinds, v.Type())
		}
		return kinds
	}
	if got := kinds("ca.internal"); len(got) != 5 || got[4] != "dns-persist-01" {
		t.Errorf("%v", got)
	}
	if got := kinds(); len(got) != 4 {
		t.Errorf("%v", got)
	}
	c.ACME.Challenges = []string{"tls-alpn-01", "dns-01"}
	if got := kinds("ca.internal"); len(got) != 2 || got[0] != "tls-alpn-01" || got[1] != "dns-01" {
		t.Errorf("%v", got)
	}
}

// TestCalls: what is not configured goes by the cores.
func TestCalls(t *testing.T) {
	c := config.Default()
	if got, want := calls(&c), acme.DefaultPlaces(runtime.GOMAXPROCS(0)); got != want || want < 512 {
		t.Errorf("%d, want %d", got, want)
	}
	c.Limits.Calls = 7
	if got := calls(&c); got != 7 {
		t.Errorf("%d", got)
	}
}
