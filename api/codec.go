package api

import (
	"fmt"
	"strconv"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// frame is a request on its way through gRPC. gRPC itself answers a message that
// cannot be decoded with an internal error, before anyone can object; a frame
// takes the fault along instead, to be answered as the caller's own.
type frame struct {
	message any    // a proto.Message; nil: what arrives is thrown away
	err     error  // of decoding
	unknown string // see unknownField
}

// frameCodec is the proto codec, with frames.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2(protocodec.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	switch message, ok := f.message.(proto.Message); {
	case f.message == nil: // it is thrown away
	case !ok:
		f.err = fmt.Errorf("a %T is no message", f.message)
	default:
		if f.err = c.CodecV2.Unmarshal(data, message); f.err == nil {
			f.unknown = unknownField(message.ProtoReflect())
		}
	}
	return nil
}

// unknownField is where in a message, or in one inside it, a field stands that its
// schema does not have: the names of the fields on the way and its number, such as
// "validity.7". Empty: nowhere.
func unknownField(m protoreflect.Message) string {
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		number, _, _ := protowire.ConsumeTag(unknown)
		return strconv.Itoa(int(number))
	}
	found := ""
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		inside := func(v protoreflect.Value) bool {
			if at := unknownField(v.Message()); at != "" {
				found = field.TextName() + "." + at
			}
			return found == ""
		}
		switch {
		case field.IsMap():
			if field.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { return inside(v) })
			}
		case field.Message() == nil:
		case field.IsList():
			for i := range v.List().Len() {
				if !inside(v.List().Get(i)) {
					break
				}
			}
		default:
			inside(v)
		}
		return found == ""
	})
	return found
}
