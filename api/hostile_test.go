package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func TestHostileREST(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(100)
	csr, err := json.Marshal(w.csr("a.team-a.internal"))
	w.must(err)
	sign := "/v1/certificates:sign"
	tests := []struct {
		name, verb, path, body string
		want                   int
	}{
		{"unknown route", "GET", "/v1/nothing", "", 404},
		{"root", "GET", "/", "", 404},
		{"double slash", "GET", "//v1/certificates", "", 404},
		{"trailing slash", "GET", "/v1/certificates/", "", 404},
		{"wrong verb", "DELETE", sign, "", 405},
		{"GET of a POST", "GET", "/v1/policy:check", "", 405},
		{"unknown verb", "BREW", sign, "", 405},
		{"empty ID before the verb", "POST", "/v1/tokens/:revoke", "", 404},
		{"encoded slash", "GET", "/v1/certificates/a%2Fb", "", 404},
		{"encoded NUL", "GET", "/v1/certificates/%00", "", 400},
		{"ID in upper case", "GET", "/v1/certificates/" + strings.Repeat("A", 64), "", 400},
		{"empty body", "POST", sign, "", 400},
		{"garbage", "POST", sign, "garbage", 400},
		{"half", "POST", sign, `{"csr":`, 400},
		{"array", "POST", sign, `[]`, 400},
		{"null", "POST", sign, `null`, 400},
		{"trailing data", "POST", sign, `{"csr":` + string(csr) + `} {}`, 400},
		{"unknown key", "POST", sign, `{"csr":` + string(csr) + `,"isCa":true}`, 400},
		{"key in another case", "POST", sign, `{"CSR":` + string(csr) + `}`, 400},
		{"duplicate key", "POST", sign, `{"csr":` + string(csr) + `,"csr":` + string(csr) + `}`, 400},
		{"duplicate key in two spellings", "POST", sign, `{"csr":` + string(csr) + `,"requestId":"a","request_id":"b"}`, 400},
		{"duplicate label", "POST", sign, `{"csr":` + string(csr) + `,"labels":{"a":"1","a":"2"}}`, 400},
		{"bad UTF-8", "POST", sign, "{\"csr\":\"\xff\xfe\"}", 400},
		{"lone surrogate", "POST", sign, `{"csr":"\ud800"}`, 400},
		{"deep", "POST", sign, strings.Repeat(`{"labels":`, 10000), 400},
		{"deep array", "POST", sign, `{"csr":` + strings.Repeat("[", 10000), 400},
		{"number for a text", "POST", sign, `{"csr":1}`, 400},
		{"validity overflow", "POST", sign, `{"csr":` + string(csr) + `,"validity":"999999999999999999s"}`, 400},
		{"validity negative", "POST", sign, `{"csr":` + string(csr) + `,"validity":"-1s"}`, 400},
		{"huge", "POST", sign, `{"csr":"` + strings.Repeat("A", 2<<20) + `"}`, 413},
		{"large CSR", "POST", sign, `{"csr":"-----BEGIN ` + strings.Repeat("A", 100<<10) + `"}`, 400},
		{"not PEM", "POST", sign, `{"csr":"MIIB"}`, 400},
		{"PEM of nothing", "POST", sign, `{"csr":"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"}`, 400},
		{"unknown query", "GET", "/v1/certificates/" + someID + "?admin=true", "", 400},
		{"path field in the query", "GET", "/v1/certificates/" + someID + "?id=" + someID, "", 400},
		{"broken query", "GET", "/v1/certificates/" + someID + "?%zz", "", 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, body, header := w.request(test.verb, test.path, secret, test.body, "Grpc-Timeout", "1n")
			if code != test.want {
				t.Errorf("%d, want %d: %.300s", code, test.want, body)
			}
			if p := w.problem(body, header); p.Reason == "" || p.Detail == "" {
				t.Errorf("%+v", p)
			}
			if code == 405 && header.Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
	if stats := w.server.Stats(); stats.Failed != 0 || stats.Panics != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestRESTHeaders(t *testing.T) {
	w := newWorld(t)
	code, body, header := w.request("GET", "/openapi.json", "", "")
	if code != 200 || header.Get("Content-Type") != "application/json" || !json.Valid(body) {
		t.Errorf("%d %v", code, header)
	}
	for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Strict-Transport-Security", "X-Request-Id"} {
		if header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	if code, _, header := w.request("POST", "/openapi.json", "", "{}"); code != 405 || header.Get("Allow") == "" {
		t.Errorf("%d %v", code, header)
	}
}

func TestHostileGRPC(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(100)
	ctx := bearer(t.Context(), secret)
	sign := certwrightv1.CertificateService_SignCertificate_FullMethodName
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	for name, req := range map[string]*certwrightv1.SignCertificateRequest{
		"nothing":       {},
		"garbage":       {Csr: "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"},
		"no validity":   {Csr: w.csr("a.team-a.internal"), Validity: &durationpb.Duration{}},
		"bad validity":  {Csr: w.csr("a.team-a.internal"), Validity: &durationpb.Duration{Seconds: 1 << 62, Nanos: -5}},
		"request ID":    {Csr: w.csr("a.team-a.internal"), RequestId: strings.Repeat("x", 65)},
		"control ID":    {Csr: w.csr("a.team-a.internal"), RequestId: "a\nb"},
		"label key":     {Csr: w.csr("a.team-a.internal"), Labels: map[string]string{strings.Repeat("k", 64): ""}},
		"label value":   {Csr: w.csr("a.team-a.internal"), Labels: map[string]string{"k": "\r\n"}},
		"label equals":  {Csr: w.csr("a.team-a.internal"), Labels: map[string]string{"k=v": "x"}},
		"owner":         {Csr: w.csr("a.team-a.internal"), Owner: "a\x00"},
		"two CSRs":      {Csr: w.csr("a.team-a.internal") + w.csr("b.team-a.internal")},
		"a certificate": {Csr: strings.ReplaceAll(w.csr("a.team-a.internal"), "CERTIFICATE REQUEST", "CERTIFICATE")},
	} {
		if _, err := client.SignCertificate(ctx, req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Bytes that are no message, and too many of them.
	for name, test := range map[string]struct {
		data []byte
		want codes.Code
	}{
		"bad wire type":   {[]byte{0x0f, 0xff}, codes.InvalidArgument},
		"bad UTF-8":       {[]byte{0x0a, 0x02, 0xff, 0xfe}, codes.InvalidArgument},
		"endless length":  {[]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, codes.InvalidArgument},
		"over the limit":  {make([]byte, 1<<20+1), codes.ResourceExhausted},
		"unknown field":   {[]byte{0x98, 0x3f, 0x01}, codes.InvalidArgument}, // of an empty request
		"nothing at all":  {nil, codes.InvalidArgument},
		"truncated field": {[]byte{0x0a, 0x05, 'a'}, codes.InvalidArgument},
	} {
		var answer []byte
		if err := w.tcp.Invoke(ctx, sign, test.data, &answer, grpc.ForceCodec(rawCodec{})); status.Code(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.tcp.Invoke(ctx, "/certwright.v1.CertificateService/Nothing", &certwrightv1.GetHeadRequest{}, &certwrightv1.LedgerHead{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	if err := w.tcp.Invoke(t.Context(), "/certwright.v1.CertificateService/Nothing", &certwrightv1.GetHeadRequest{}, &certwrightv1.LedgerHead{}); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if stats := w.server.Stats(); stats.Failed != 0 || stats.Panics != 0 {
		t.Errorf("%+v", stats)
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Unmarshal([]byte, any) error   { return nil }
func (rawCodec) Name() string                  { return "proto" }

// TestRefusedByHeaders sends headers and no message: a call without credentials is
// answered all the same, by whatever path.
func TestRefusedByHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/certwright.v1.LedgerService/GetHead", "certwright.v1.LedgerService/GetHead", "/", "", "//", "/grpc.health.v1.Health/check",
		"grpc.health.v1.Health/Check", "/certwright.v1.LedgerService/GetHead/", "/nothing/Nothing",
	} {
		code := w.headersOnly(t.Context(), path)
		if code != "16" && code != "12" || code == "12" && strings.Contains(path, "certwright") {
			t.Errorf("%q: grpc-status %q", path, code)
		}
	}
}

// headersOnly opens a stream with a path and answers the grpc-status that comes
// back.
func (w *world) headersOnly(ctx context.Context, path string) string {
	dialer := tls.Dialer{Config: w.tls()}
	conn, err := dialer.DialContext(ctx, "tcp", w.addr)
	w.must(err)
	defer conn.Close()
	_, err = io.WriteString(conn, http2.ClientPreface)
	w.must(err)
	framer := http2.NewFramer(conn, bufio.NewReader(conn))
	w.must(framer.WriteSettings())
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "example.com"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		w.must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	w.must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true}))
	found := ""
	decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == "grpc-status" {
			found = f.Value
		}
	})
	for found == "" {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			_, err := decoder.Write(f.HeaderBlockFragment())
			w.must(err)
		case *http2.RSTStreamFrame:
			return "reset " + f.ErrCode.String()
		}
	}
	return found
}

func TestHealthAndReflection(t *testing.T) {
	w := newWorld(t)
	answer, err := healthpb.NewHealthClient(w.tcp).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", answer, err)
	}
	_, err = healthpb.NewHealthClient(w.tcp).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nothing"})
	if status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	_, secret := w.token(1)
	reflect := func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	if err := reflect(t.Context(), w.admin); err != nil {
		t.Error(err)
	}
	if err := reflect(t.Context(), w.tcp); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if err := reflect(bearer(t.Context(), secret), w.tcp); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}

// fuzzRoutes take what FuzzREST makes, as a body (POST) or as a query (GET).
var fuzzRoutes = []struct{ verb, path string }{
	{"POST", "/v1/certificates:sign"}, {"GET", "/v1/certificates"}, {"POST", "/v1/policy:check"}, {"POST", "/v1/policy:simulate"},
	{"POST", "/v1/tokens"}, {"GET", "/v1/tokens"}, {"GET", "/v1/ledger/entries"}, {"GET", "/v1/refusals"}, {"GET", "/v1/certificates/" + someID},
	{"GET", "/v1/ledger/entries/0/proof"}, {"GET", "/v1/policy/versions"}, {"GET", "/v1/policy"},
}

// FuzzREST sends any body or query to the routes: never a 5xx, never a panic.
func FuzzREST(f *testing.F) {
	w := newWorld(f, admitTokensAsAdmins)
	_, secret := w.token(10000)
	handler, err := w.server.Handler()
	w.must(err)
	csr, err := json.Marshal(w.csr("a.team-a.internal"))
	w.must(err)
	for i := range fuzzRoutes {
		for _, seed := range []string{
			`{}`, `{"csr":"x"}`, `{"csr":"x","csr":"y"}`, `{"labels":{"a":"b"}}`, `{"validity":"1s"}`, `{"validity":"1.5s","requestId":"a"}`,
			`[]`, `null`, "\xff", `{"csr":"\ud800"}`, `{"validateOnly":true,"csr":"-----BEGIN CERTIFICATE REQUEST-----"}`, `{"csr":` + string(csr) + `}`,
			`{"document":"version: 1"}`, `{"dnsNames":["a.b"],"principal":"token:x","key":"rsa-2048","validity":"3600s"}`,
			`{"owner":"a","profiles":["server"],"dnsPatterns":["*.a"],"ttl":"60s","uses":1}`,
			`pageSize=1&filter=owner%3Da&orderBy=not_after`, `page_size=-1`, `pageToken=AAAA`, `treeSize=18446744073709551615`, `sha256=00`, `a;b`, `%zz`,
		} {
			f.Add(seed, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		route := fuzzRoutes[int(n)%len(fuzzRoutes)]
		r, err := http.NewRequestWithContext(t.Context(), route.verb, route.path, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if route.verb == "GET" {
			r.URL.RawQuery = text
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		recorder := &recorder{header: http.Header{}}
		handler.ServeHTTP(recorder, r)
		if recorder.code >= 500 {
			t.Errorf("%d for %q: %s", recorder.code, text, recorder.body.String())
		}
		if stats := w.server.Stats(); stats.Panics != 0 || stats.Failed != 0 {
			t.Fatalf("%+v", stats)
		}
	})
}

type recorder struct {
	header http.Header
	code   int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
