package api

import (
	_ "embed"
	"fmt"
	"io"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// strictQuery reads query parameters as the gateway does, and refuses those that
// are no field of the request.
type strictQuery struct{}

// Parse implements runtime.QueryParameterParser.
func (strictQuery) Parse(message proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	fields := message.ProtoReflect().Descriptor().Fields()
	for key, list := range values {
		field := fields.ByTextName(key)
		if field == nil {
			field = fields.ByJSONName(key)
		}
		if field == nil {
			return fmt.Errorf("unknown query parameter %.64q", key)
		}
		if len(list) > 1 && field.Cardinality() != protoreflect.Repeated {
			return fmt.Errorf("the query parameter %q is given more than once", field.JSONName())
		}
		if filter.HasCommonPrefix([]string{string(field.Name())}) {
			return fmt.Errorf("the query parameter %q stands in the path", field.JSONName())
		}
	}
	return runtime.PopulateQueryParameters(message, values, filter)
}
