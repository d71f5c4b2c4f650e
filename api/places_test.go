package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/api"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// rawStreams is a connection on which streams are opened and nothing is sent.
type rawStreams struct {
	*http2.Framer
	conn net.Conn
	next uint32
}

func (w *world) raw() *rawStreams {
	dialer := tls.Dialer{Config: w.tls()}
	conn, err := dialer.DialContext(w.t.Context(), "tcp", w.addr)
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	_, err = io.WriteString(conn, http2.ClientPreface)
	w.must(err)
	r := &rawStreams{Framer: http2.NewFramer(conn, bufio.NewReader(conn)), conn: conn, next: 1}
	w.must(r.WriteSettings())
	return r
}

// open opens a stream with headers alone.
func (r *rawStreams) open(w *world, path, secret string) {
	w.t.Helper()
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	fields := [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "example.com"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	}
	if secret != "" {
		fields = append(fields, [2]string{"authorization", "Bearer " + secret})
	}
	for _, field := range fields {
		w.must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	w.must(r.WriteHeaders(http2.HeadersFrameParam{StreamID: r.next, BlockFragment: []byte(block.String()), EndHeaders: true}))
	r.next += 2
}

// field reads until a header field comes.
func (r *rawStreams) field(w *world, name string) string {
	w.t.Helper()
	found := ""
	decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == name {
			found = f.Value
		}
	})
	w.must(r.conn.SetReadDeadline(time.Now().Add(20 * time.Second)))
	for found == "" {
		frame, err := r.ReadFrame()
		w.must(err)
		if f, ok := frame.(*http2.HeadersFrame); ok {
			_, err := decoder.Write(f.HeaderBlockFragment())
			w.must(err)
		}
	}
	return found
}

// settled waits until the server has read all that was sent: it answers a ping.
func (r *rawStreams) settled(w *world) {
	w.t.Helper()
	w.must(r.WritePing(false, [8]byte{1}))
	for {
		frame, err := r.ReadFrame()
		w.must(err)
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}

// TestHeadersHoldNoPlace: calls of which nothing but headers comes keep nobody out.
func TestHeadersHoldNoPlace(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Limits.Calls, c.Limits.Streams = 2, 1 })
	_, secret := w.token(100)
	started := w.server.Stats().Calls
	held := 0
	for _, method := range []string{healthpb.Health_Check_FullMethodName, certwrightv1.CertificateService_SignCertificate_FullMethodName} {
		r := w.raw()
		for range 100 {
			r.open(w, method, secret)
			held++
		}
		r.settled(w)
	}
	for deadline := time.Now().Add(20 * time.Second); w.server.Stats().Calls < started+uint64(held); {
		if time.Now().After(deadline) {
			t.Fatal("the calls do not begin")
		}
		runtime.Gosched()
	}
	if _, err := healthpb.NewHealthClient(w.tcp).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error("health:", err)
	}
	if _, err := w.certificates().SignCertificate(t.Context(), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.internal"), Profile: "server"}); err != nil {
		t.Error("admin:", err)
	}
	_, err := certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")})
	if err != nil {
		t.Error("token:", err)
	}
}

// TestRequestIsLate: a request that does not arrive is answered.
func TestRequestIsLate(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Limits.Receive = 100 * time.Millisecond })
	_, secret := w.token(100)
	for _, method := range []string{
		healthpb.Health_Check_FullMethodName, certwrightv1.CertificateService_SignCertificate_FullMethodName,
		certwrightv1.LedgerService_VerifyLedger_FullMethodName,
	} {
		r := w.raw()
		r.open(w, method, secret)
		want := "3"
		if method == certwrightv1.LedgerService_VerifyLedger_FullMethodName {
			want = "7" // not for a token
		}
		if got := r.field(w, "grpc-status"); got != want {
			t.Errorf("%s: grpc-status %s", method, got)
		}
	}
	// A request is there and its stream stays open.
	r := w.raw()
	r.open(w, healthpb.Health_Check_FullMethodName, "")
	w.must(r.WriteData(1, false, make([]byte, 5)))
	if got := r.field(w, "grpc-status"); got != "3" {
		t.Errorf("without an end: grpc-status %s", got)
	}
}

func TestNoHealthWatch(t *testing.T) {
	w := newWorld(t)
	for name, conn := range map[string]*grpc.ClientConn{"TLS": w.tcp, "socket": w.admin} {
		stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := w.raw()
	r.open(w, healthpb.Health_Watch_FullMethodName, "")
	if got := r.field(w, "grpc-status"); got != "12" {
		t.Errorf("headers alone: grpc-status %s", got)
	}
}

// TestOneRequest: a unary call with no request, or with two, is the caller's
// fault.
func TestOneRequest(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(100)
	for n := range 3 {
		for _, method := range []string{healthpb.Health_Check_FullMethodName, certwrightv1.CertificateService_SignCertificate_FullMethodName} {
			err := invoke(bearer(t.Context(), secret), w.tcp, method, n)
			want := codes.InvalidArgument
			if n == 1 && method == healthpb.Health_Check_FullMethodName {
				want = codes.OK
			}
			if status.Code(err) != want || n != 1 && len(status.Convert(err).Details()) == 0 {
				t.Errorf("%s with %d requests: %v", method, n, err)
			}
		}
	}
	if stats := w.server.Stats(); stats.Failed != 0 || stats.Panics != 0 {
		t.Errorf("%+v", stats)
	}
}

// invoke calls a unary method with n empty requests.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string, n int) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	for range n {
		if err := stream.SendMsg(&healthpb.HealthCheckRequest{}); err != nil {
			break // RecvMsg says why
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(&healthpb.HealthCheckResponse{})
}

// TestUnknownFields: a field that the schema does not have is refused, wherever it
// stands.
func TestUnknownFields(t *testing.T) {
	w := newWorld(t)
	unknown := []byte{0x98, 0x3f, 0x01} // field 1011
	top := &certwrightv1.SignCertificateRequest{Csr: w.csr("a.internal"), Profile: "server"}
	top.ProtoReflect().SetUnknown(unknown)
	nested := &certwrightv1.SignCertificateRequest{Csr: w.csr("a.internal"), Profile: "server", Validity: durationpb.New(time.Hour)}
	nested.GetValidity().ProtoReflect().SetUnknown(unknown)
	for name, test := range map[string]struct {
		request *certwrightv1.SignCertificateRequest
		want    string
	}{"on top": {top, "1011"}, "nested": {nested, "validity.1011"}} {
		_, err := w.certificates().SignCertificate(t.Context(), test.request)
		if status.Code(err) != codes.InvalidArgument || !strings.HasSuffix(status.Convert(err).Message(), ": "+test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stream, err := certwrightv1.NewLedgerServiceClient(w.admin).VerifyLedger(t.Context(), withUnknown(&certwrightv1.VerifyLedgerRequest{}, unknown))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func withUnknown[M proto.Message](m M, unknown []byte) M {
	m.ProtoReflect().SetUnknown(unknown)
	return m
}
