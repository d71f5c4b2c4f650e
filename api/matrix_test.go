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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/local"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// methodCase is one line of the matrix: how a method is reached over REST, and
// whether the holder of a token may call it. Written by hand: a method that is not
// here fails the test.
type methodCase struct {
	verb, path string
	requester  bool
}

var someID = strings.Repeat("0", 64)

var matrix = map[string]methodCase{
	"/certwright.v1.CertificateService/SignCertificate":        {verb: "POST", path: "/v1/certificates:sign", requester: true},
	"/certwright.v1.CertificateService/GetCertificate":         {verb: "GET", path: "/v1/certificates/" + someID, requester: true},
	"/certwright.v1.CertificateService/ListCertificates":       {verb: "GET", path: "/v1/certificates"},
	"/certwright.v1.CertificateService/RevokeCertificate":      {verb: "POST", path: "/v1/certificates/" + someID + ":revoke"},
	"/certwright.v1.CertificateService/BulkRevokeCertificates": {verb: "POST", path: "/v1/certificates:bulkRevoke"},
	"/certwright.v1.CRLService/ListCRLs":                       {verb: "GET", path: "/v1/crls"},
	"/certwright.v1.CRLService/PublishCRLs":                    {verb: "POST", path: "/v1/crls:publish"},
	"/certwright.v1.OperationService/GetOperation":             {verb: "GET", path: "/v1/operations/" + someID[:32]},
	"/certwright.v1.CertificateService/ListRefusals":           {verb: "GET", path: "/v1/refusals"},
	"/certwright.v1.LedgerService/GetHead":                     {verb: "GET", path: "/v1/ledger/head"},
	"/certwright.v1.LedgerService/GetEntry":                    {verb: "GET", path: "/v1/ledger/entries/0"},
	"/certwright.v1.LedgerService/ListEntries":                 {verb: "GET", path: "/v1/ledger/entries"},
	"/certwright.v1.LedgerService/GetProof":                    {verb: "GET", path: "/v1/ledger/entries/0/proof"},
	"/certwright.v1.LedgerService/GetFile":                     {verb: "GET", path: "/v1/ledger/file?path=checkpoint"},
	"/certwright.v1.LedgerService/VerifyLedger":                {verb: "POST", path: "/v1/ledger:verify"},
	"/certwright.v1.PolicyService/GetPolicy":                   {verb: "GET", path: "/v1/policy"},
	"/certwright.v1.PolicyService/CheckPolicy":                 {verb: "POST", path: "/v1/policy:check"},
	"/certwright.v1.PolicyService/SimulatePolicy":              {verb: "POST", path: "/v1/policy:simulate"},
	"/certwright.v1.PolicyService/ApplyPolicy":                 {verb: "POST", path: "/v1/policy:apply"},
	"/certwright.v1.PolicyService/ListPolicyVersions":          {verb: "GET", path: "/v1/policy/versions"},
	"/certwright.v1.PolicyService/ListProfiles":                {verb: "GET", path: "/v1/profiles"},
	"/certwright.v1.PolicyService/GetProfile":                  {verb: "GET", path: "/v1/profiles/server"},
	"/certwright.v1.TokenService/CreateToken":                  {verb: "POST", path: "/v1/tokens"},
	"/certwright.v1.TokenService/ListTokens":                   {verb: "GET", path: "/v1/tokens"},
	"/certwright.v1.TokenService/RevokeToken":                  {verb: "POST", path: "/v1/tokens/" + someID[:32] + ":revoke"},
	"/certwright.v1.IssuerService/ListIssuers":                 {verb: "GET", path: "/v1/issuers"},
	"/certwright.v1.IssuerService/GetIssuer":                   {verb: "GET", path: "/v1/issuers/issuing"},
	"/certwright.v1.CertificateService/ReplaceCertificates":    {verb: "POST", path: "/v1/certificates:replace"},
	"/certwright.v1.AccountService/ListAccounts":               {verb: "GET", path: "/v1/accounts"},
	"/certwright.v1.AccountService/GetAccount":                 {verb: "GET", path: "/v1/accounts/" + someID[:24]},
	"/certwright.v1.AccountService/DeactivateAccount":          {verb: "POST", path: "/v1/accounts/" + someID[:24] + ":deactivate"},
	"/certwright.v1.EABService/CreateEABKey":                   {verb: "POST", path: "/v1/eabKeys"},
	"/certwright.v1.EABService/ListEABKeys":                    {verb: "GET", path: "/v1/eabKeys"},
	"/certwright.v1.EABService/RevokeEABKey":                   {verb: "POST", path: "/v1/eabKeys/" + someID[:24] + ":revoke"},
	"/certwright.v1.MaintenanceService/Backup":                 {},
	"/certwright.v1.MaintenanceService/GetStorage":             {verb: "GET", path: "/v1/storage"},
	"/certwright.v1.MaintenanceService/GetClock":               {verb: "GET", path: "/v1/clock"},
	"/certwright.v1.MaintenanceService/AcceptClock":            {verb: "POST", path: "/v1/clock:accept"},
	"/certwright.v1.OrderService/GetOrder":                     {verb: "GET", path: "/v1/orders/" + someID[:24]},
	"/certwright.v1.OrderService/FindOrder":                    {verb: "GET", path: "/v1/orders:find"},
	"/certwright.v1.OrderService/ListOrders":                   {verb: "GET", path: "/v1/orders"},
}

// credentialCase is one column: a secret, and the code of a call with it, of a
// method for requesters and of one for admins. OK: anything but a refusal of the
// credentials.
type credentialCase struct {
	name, header     string
	requester, admin codes.Code
}

// credentialCases are tokens in every state; all but the last expire or are spent.
func (w *world) credentialCases() []credentialCase {
	ctx := w.t.Context()
	_, good := w.token(3)
	revokedID, revoked := w.token(1)
	_, err := w.tokens.Revoke(ctx, revokedID, "local_socket:admin")
	w.must(err)
	// A token that expired an hour ago, by a clock that is behind.
	past := token.New(token.Config{Store: w.store, Check: func(identity.Bound) error { return nil }, Now: func() time.Time { return time.Now().Add(-2 * time.Hour) }})
	_, expired, err := past.Create(ctx, token.Spec{Owner: "team-a", Profiles: []string{"server"}, Names: identity.Names{DNS: []string{"a"}}, TTL: time.Hour, Creator: "local_socket:admin"})
	w.must(err)
	_, spent := w.token(1)
	_, err = certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(ctx, spent), &certwrightv1.SignCertificateRequest{Csr: w.csr("x.team-a.internal")})
	w.must(err)
	flipped := []byte(good)
	flipped[len(flipped)-2] ^= 1
	no := codes.Unauthenticated
	return []credentialCase{
		{"none", "", no, no},
		{"garbage", "Bearer garbage", no, no},
		{"another scheme", "Basic YWRtaW46YWRtaW4=", no, no},
		{"empty bearer", "Bearer ", no, no},
		{"one bit wrong", "Bearer " + string(flipped), no, no},
		{"expired", "Bearer " + expired, no, no},
		{"revoked", "Bearer " + revoked, no, no},
		{"spent", "Bearer " + spent, codes.OK, codes.PermissionDenied},
		{"token", "Bearer " + good, codes.OK, codes.PermissionDenied},
		{"auditor", "Bearer " + auditorToken, codes.PermissionDenied, codes.PermissionDenied},
	}
}

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

func TestEveryMethodSaysWhoMayCall(t *testing.T) {
	seen := 0
	eachOurs(func(name string, m protoreflect.MethodDescriptor) {
		seen++
		a, ok := proto.GetExtension(m.Options(), certwrightv1.E_Authorization).(*certwrightv1.Authorization)
		if !proto.HasExtension(m.Options(), certwrightv1.E_Authorization) || !ok || a.GetPublic() || len(a.GetRoles()) == 0 {
			t.Errorf("%s: authorization %v", name, a)
		}
		line, known := matrix[name]
		if !known {
			t.Errorf("%s has no line in the matrix", name)
		}
		requester := false
		for _, role := range a.GetRoles() {
			requester = requester || role == certwrightv1.Role_ROLE_REQUESTER
		}
		if requester != line.requester {
			t.Errorf("%s: the annotation has %v, the matrix %v for requesters", name, a.GetRoles(), line.requester)
		}
	})
	if seen != len(matrix) {
		t.Errorf("%d methods, %d lines", seen, len(matrix))
	}
}

func TestMatrix(t *testing.T) {
	w := newWorld(t, withAuditors(t))
	for _, credential := range w.credentialCases() {
		eachOurs(func(name string, m protoreflect.MethodDescriptor) {
			line := matrix[name]
			want := credential.admin
			if line.requester {
				want = credential.requester
			}
			ctx := t.Context()
			if credential.header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", credential.header)
			}
			if got := refusal(call(ctx, w.tcp, name, m)); got != want {
				t.Errorf("gRPC %s with %s: %v, want %v", name, credential.name, got, want)
			}
			if line.verb == "" { // gRPC only
				return
			}
			var headers []string
			if credential.header != "" {
				headers = []string{"Authorization", credential.header}
			}
			// The body is broken: who may not call never learns that.
			code, body, header := w.request(line.verb, line.path, "", "{", headers...)
			switch {
			case want == codes.Unauthenticated && (code != 401 || header.Get("WWW-Authenticate") == ""),
				want == codes.PermissionDenied && code != 403,
				want == codes.OK && (code == 401 || code == 403 || code >= 500):
				t.Errorf("REST %s with %s: %d %s", line.path, credential.name, code, body)
			}
			if code >= 400 {
				w.problem(body, header)
			}
		})
	}
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
		if got := refusal(call(t.Context(), w.admin, name, m)); got != codes.PermissionDenied {
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
		if got := refusal(call(t.Context(), w.admin, name, m)); got != codes.OK {
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
