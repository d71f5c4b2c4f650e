package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func TestRetrying(t *testing.T) {
	told := func(code codes.Code, wait time.Duration) error {
		st, err := status.New(code, "x").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	down := status.Error(codes.Unavailable, "down")
	get, sign := "/certwright.v1.CertificateService/GetCertificate", "/certwright.v1.CertificateService/SignCertificate"
	identified := &certwrightv1.SignCertificateRequest{RequestId: "x"}
	for name, test := range map[string]struct {
		method    string
		req       any
		errs      []error
		calls     int
		code      codes.Code
		from, to  time.Duration // how long it takes
		remaining time.Duration // until the deadline; 0: none
	}{
		"at once":            {get, &certwrightv1.GetCertificateRequest{}, nil, 1, codes.OK, 0, 0, 0},
		"the second time":    {get, &certwrightv1.GetCertificateRequest{}, []error{down}, 2, codes.OK, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		"never":              {get, &certwrightv1.GetCertificateRequest{}, []error{down, down, down, down}, 3, codes.Unavailable, 300 * time.Millisecond, 600 * time.Millisecond, 0},
		"as the server says": {get, &certwrightv1.GetCertificateRequest{}, []error{told(codes.Unavailable, 7*time.Second)}, 2, codes.OK, 7 * time.Second, 7 * time.Second, 0},
		"limited":            {get, &certwrightv1.GetCertificateRequest{}, []error{told(codes.ResourceExhausted, time.Second)}, 2, codes.OK, time.Second, time.Second, 0},
		"too large":          {get, &certwrightv1.GetCertificateRequest{}, []error{status.Error(codes.ResourceExhausted, "x")}, 1, codes.ResourceExhausted, 0, 0, 0},
		"identified":         {sign, identified, []error{down}, 2, codes.OK, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		"not identified":     {sign, &certwrightv1.SignCertificateRequest{}, []error{down}, 1, codes.Unavailable, 0, 0, 0},
		"changes something":  {"/certwright.v1.CRLService/PublishCRLs", &certwrightv1.PublishCRLsRequest{}, []error{down}, 1, codes.Unavailable, 0, 0, 0},
		"denied":             {get, &certwrightv1.GetCertificateRequest{}, []error{status.Error(codes.PermissionDenied, "no")}, 1, codes.PermissionDenied, 0, 0, 0},
		"a wrong root":       {get, &certwrightv1.GetCertificateRequest{}, []error{status.Error(codes.Unavailable, "transport: authentication handshake failed: x509")}, 1, codes.Unavailable, 0, 0, 0},
		"much too late":      {get, &certwrightv1.GetCertificateRequest{}, []error{told(codes.Unavailable, time.Hour)}, 1, codes.Unavailable, 0, 0, 0},
		"too late":           {get, &certwrightv1.GetCertificateRequest{}, []error{told(codes.Unavailable, 20*time.Second)}, 1, codes.Unavailable, 0, 0, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.remaining > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.remaining)
					defer cancel()
				}
				calls, began := 0, time.Now()
				err := retrying(3)(ctx, test.method, test.req, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
					calls++
					if calls <= len(test.errs) {
						return test.errs[calls-1]
					}
					return nil
				})
				if took := time.Since(began); calls != test.calls || status.Code(err) != test.code || took < test.from || took > test.to {
					t.Errorf("%d calls, %v, after %s", calls, err, took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-time.After(50 * time.Millisecond); cancel() }()
		err := retrying(3)(ctx, get, &certwrightv1.GetCertificateRequest{}, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return down })
		if status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
	})
}
