package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/local"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

var someID = strings.Repeat("0", 64)

// eachOurs calls do for every method of certwright.v1, as the registry has them.
func eachOurs(do func(name string, m protoreflect.MethodDescriptor)) {
	protoregistry.GlobalFiles.RangeFilesByPackage("certwright.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				do(fmt.Sprintf("/%s/%s", service.FullName(), m.Name()), m)
			}
		}
		return true
	})
}

// call calls a method with an empty request.
func call(ctx context.Context, conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor) error {
	answer := dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingServer() {
		return conn.Invoke(ctx, name, dynamicpb.NewMessage(m.Input()), answer)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(m.Input())); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(answer)
}

// refusal is the code of a refusal of credentials, and OK for anything else but
// an internal error.
func refusal(err error) codes.Code {
	switch code := status.Code(err); code {
	case codes.Unauthenticated, codes.PermissionDenied, codes.Internal, codes.Unknown:
		return code
	}
	return codes.OK
}

func TestTokenOfAnotherGrant(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(5)
	for name, req := range map[string]*certwrightv1.SignCertificateRequest{
		"other names":   {Csr: w.csr("svc.internal")},
		"other profile": {Csr: w.csr("a.team-a.internal"), Profile: "other"},
		"other owner":   {Csr: w.csr("a.team-a.internal"), Owner: "team-b"},
		"a wildcard":    {Csr: w.csr("*.team-a.internal")},
	} {
		_, err := certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(t.Context(), secret), req)
		if status.Code(err) != codes.PermissionDenied || reason(err) != "POLICY_DENIED" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSocketOfAnotherUser(t *testing.T) {
	w := newWorld(t, func(c *api.Config) {
		c.Authenticators = []api.Authenticator{c.Tokens, local.New(local.Config{UIDs: []uint32{uint32(os.Geteuid()) + 4711}})}
	})
	eachOurs(func(name string, m protoreflect.MethodDescriptor) {
		want := codes.PermissionDenied
		if strings.HasSuffix(name, "/ListProviders") { // anybody's
			want = codes.OK
		}
		if got := refusal(call(t.Context(), w.admin, name, m)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	})
	// A token counts on the socket too, for whom the socket itself says nothing.
	_, secret := w.token(1)
	_, err := w.certificates().SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")})
	if err != nil {
		t.Error(err)
	}
}

func TestAdminMayCallEverything(t *testing.T) {
	w := newWorld(t)
	eachOurs(func(name string, m protoreflect.MethodDescriptor) {
		want := codes.OK
		if strings.HasSuffix(name, "/RenewCertificate") || strings.HasSuffix(name, "/CreateSession") { // its holder's alone, and who logs in's
			want = codes.PermissionDenied
		}
		if got := refusal(call(t.Context(), w.admin, name, m)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	})
	if stats := w.server.Stats(); stats.Failed != 0 || stats.Panics != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestSocketCredentialsNeedASocket(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.serve(w.server.GRPC(grpc.Creds(api.SocketCredentials())), l)
	conn := w.dial(l.Addr().String(), credentials.NewTLS(w.tls()))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = certwrightv1.NewLedgerServiceClient(conn).GetHead(ctx, &certwrightv1.GetHeadRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

func TestForwardedHeadersAreNobody(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(1)
	for _, header := range []string{
		"Grpc-Metadata-Authorization", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Forwarded-For", "Forwarded",
		"X-Real-Ip", "Proxy-Authorization", "Cookie", "Grpcgateway-Authorization", "X-Http-Method-Override",
	} {
		if code, body, _ := w.request(http.MethodGet, "/v1/ledger/head", "", "", header, "Bearer "+secret); code != 401 {
			t.Errorf("%s: %d %s", header, code, body)
		}
	}
	if code, body, _ := w.request(http.MethodGet, "/v1/ledger/head", "", "", "Authorization", "Bearer "+secret, "Authorization", "Bearer "+secret); code != 401 {
		t.Errorf("two headers: %d %s", code, body)
	}
}
