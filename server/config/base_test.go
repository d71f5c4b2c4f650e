package config

import "testing"

func TestGRPCBase(t *testing.T) {
	for _, test := range []struct {
		names           []string
		base, listening string
		configured      string
		want            string
	}{
		{[]string{"localhost", "127.0.0.1"}, "", "127.0.0.1:40001", "", "https://localhost:40001"},
		{[]string{"localhost", "127.0.0.1", "ca.corp.internal"}, "", "[::]:8444", "", "https://ca.corp.internal:8444"},
		{[]string{"::1", "fd00::1"}, "", "[::]:8444", "", "https://[fd00::1]:8444"},
		{[]string{"host1", "localhost"}, "https://ca.internal:9443", "[::]:8444", "", "https://ca.internal:8444"},
		{nil, "", "", "127.0.0.1:8444", "https://localhost:8444"},
		{[]string{"host1"}, "https://ca.internal", "", Off, ""},
	} {
		c := Config{ServerNames: test.names}
		c.BaseURL.HTTPS, c.Listen.GRPC = test.base, test.configured
		if got := c.GRPCBase(test.listening); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
