package client

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The waits between the tries of a call.
const (
	firstWait   = 200 * time.Millisecond
	longestWait = 10 * time.Second
	longestAsk  = time.Minute // a server that asks for a longer wait is not waited for
)

// retrying makes a call again that found the server unavailable: at most so many times
// in all, at random waits that double and are as long at least as the server says
// (RetryInfo). It is made again only if that does no harm: it reads, or it has a
// request ID. If the wait would outlast the call's deadline, or is more than a minute, the error
// is answered at once.
func retrying(tries int) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		wait := firstWait
		for try := 1; ; try++ {
			err := invoke(ctx, method, req, reply, conn, options...)
			if err == nil || try >= tries || !again(method, req, err) {
				return err
			}
			pause := max(wait/2+time.Duration(rand.Int64N(int64(wait/2))), RetryDelay(err)) //nolint:gosec // jitter, no secret
			if pause > longestAsk {
				return err
			}
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
				return err
			}
			if !pauseFor(ctx, pause) {
				return err
			}
			wait = min(2*wait, longestWait)
		}
	}
}

// again tells whether the error may pass, and whether the call may be repeated.
func again(method string, req any, err error) bool {
	switch status.Code(err) {
	case codes.Unavailable:
	case codes.ResourceExhausted:
		if RetryDelay(err) == 0 {
			return false
		}
	default:
		return false
	}
	if unsafe(err) {
		return false
	}
	if identified, ok := req.(interface{ GetRequestId() string }); ok {
		return identified.GetRequestId() != ""
	}
	verb := method[strings.LastIndexByte(method, '/')+1:]
	for _, reads := range []string{"Get", "List", "Find", "Check", "Simulate"} {
		if strings.HasPrefix(verb, reads) {
			return true
		}
	}
	return false
}

// unsafe tells the errors of a TLS handshake: waiting makes no wrong root right.
func unsafe(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "authentication handshake failed") || alerted(err)
}

// alerted tells whether the server has broken the handshake off: it does not take the
// client's certificate.
func alerted(err error) bool {
	return strings.Contains(status.Convert(err).Message(), "remote error: tls: ")
}

// RetryDelay is how long the server asks to wait before the next try; 0 if it does not
// say.
func RetryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, info.GetRetryDelay().AsDuration())
		}
	}
	return 0
}

// pauseFor waits, and tells whether the context is still under way then.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
