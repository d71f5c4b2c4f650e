package client

import (
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// TestGRPC: both ends of gRPC take the keeper's configurations as they are.
func TestGRPC(t *testing.T) {
	p := newPaper(t, time.Hour)
	service, caller, other := keeps(t, p, "svc.internal"), keeps(t, p, "web.internal"), keeps(t, p, "other.internal")
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(service.MutualTLS(WithHost("web.internal")))))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for name, test := range map[string]struct {
		by      *Keeper
		match   Match
		options []grpc.DialOption
		want    string
	}{
		"by match":       {caller, WithHost("svc.internal"), nil, ""},
		"by name":        {caller, nil, []grpc.DialOption{grpc.WithAuthority("svc.internal")}, ""},
		"another server": {caller, WithHost("db.internal"), nil, "expected is"},
		"another client": {other, WithHost("svc.internal"), nil, "Unavailable"},
	} {
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), append(test.options, grpc.WithTransportCredentials(credentials.NewTLS(test.by.ClientTLS(test.match))))...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
