package direct

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/agent/source"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// failure says what a server's error means. Whether a certificate was made is only
// known when the server has said no.
func failure(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return &source.Failure{Err: err}
	}
	f := &source.Failure{Refused: refused(st), Err: &source.Said{Text: words(st), Err: err}}
	f.Rejected = st.Code() == codes.Unauthenticated
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().CheckValid() == nil {
			f.Wait = max(0, info.GetRetryDelay().AsDuration())
		}
	}
	return f
}

func refused(st *status.Status) bool {
	switch st.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}

// words is one line: what is wrong, every broken rule, what to do, the request ID.
func words(st *status.Status) string {
	text := st.Message()
	if text == "" {
		text = st.Code().String()
	}
	var more []string
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *certwrightv1.Violation:
			more = append(more, fmt.Sprintf("%s: %s (%s)", d.GetReason(), d.GetDetail(), d.GetRule()))
		case *errdetails.ErrorInfo:
			if help := d.GetMetadata()["help"]; help != "" && !strings.Contains(text, help) {
				text += "; " + help
			}
			if id := d.GetMetadata()["request_id"]; id != "" {
				more = append(more, "request ID "+id)
			}
		}
	}
	return source.Words(strings.Join(append([]string{text}, more...), "; "))
}
