package api

import (
	_ "embed"
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// openapiDocument is the OpenAPI document of the routes, generated from the
// .proto files.
//
//go:embed openapi/openapi.json
var openapiDocument []byte

// marshaler is the proto's JSON, read strictly: the whole body is one object;
// unknown and duplicate keys, of fields and of maps, are errors, whatever their
// spelling (dnsNames or dns_names).
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false, RecursionLimit: 32},
	}}
}

// Unmarshal implements runtime.Marshaler.
func (m *marshaler) Unmarshal(data []byte, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("a %T is not a message", v)
	}
	return m.UnmarshalOptions.Unmarshal(data, message)
}

// NewDecoder implements runtime.Marshaler. The decoder reads to the end: what
// follows the object is an error. An empty body is io.EOF, which the gateway takes
// as an empty object.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return io.EOF
		}
		return m.Unmarshal(data, v)
	})
}

// StreamContentType is the media type of a stream: one JSON object a line.
func (m *marshaler) StreamContentType(any) string { return "application/json" }
