package acme_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestPersist proves a name and a wildcard by dns-persist-01. The challenge says
// what the record must say. Its authorization is not reused: the record is looked
// at for each order, and once it is gone there is nothing more.
func TestPersist(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	w.name("a.acme.internal")
	prove := func(name string) string {
		t.Helper()
		o := c.order(name)
		if o.Status != "pending" {
			t.Fatalf("the order for %s is %s", name, o.Status)
		}
		var z struct {
			Challenges []struct {
				Type, URL, Token, AccountURI string
				Domains                      []string `json:"issuer-domain-names"`
			}
		}
		c.post(o.Authorizations[0], nil).into(t, &z)
		for _, ch := range z.Challenges {
			persistent := ch.Type == "dns-persist-01"
			if persistent != (ch.AccountURI == c.kid && ch.Token == "" && len(ch.Domains) == 1 && ch.Domains[0] == "ca.internal") {
				t.Errorf("%+v", ch)
			}
			if persistent {
				c.post(ch.URL, map[string]any{})
			}
		}
		if status := c.settled(o.Authorizations[0]).Status; status != "valid" {
			return status
		}
		return c.getOrder(o.url).Status
	}
	record := "_validation-persist.a.acme.internal"
	w.dns.Set(t, record, fmt.Sprintf("TXT %q", "ca.internal; accounturi="+c.kid))
	if got := prove("a.acme.internal"); got != "ready" {
		t.Errorf("the order is %s", got)
	}
	if got := prove("*.a.acme.internal"); got != "invalid" {
		t.Errorf("a wildcard by a record that does not say so: %s", got)
	}
	w.dns.Set(t, record, fmt.Sprintf("TXT %q", "ca.internal; policy=wildcard; accounturi="+c.kid))
	if got := prove("*.a.acme.internal"); got != "ready" {
		t.Errorf("a wildcard: %s", got)
	}
	w.dns.Set(t, record, fmt.Sprintf("TXT %q", "ca.internal; accounturi="+strings.ToUpper(c.kid)))
	if got := prove("a.acme.internal"); got != "invalid" {
		t.Errorf("another account's record: %s", got)
	}
}
