package api

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/certwright/certwright/problem"
)

// frame is a request on its way through gRPC. gRPC itself answers a message that
// cannot be decoded with an internal error, before anyone can object; a frame
// takes the fault along instead, to be answered as the caller's own.
type frame struct {
	message any
	err     error
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
	if err := c.CodecV2.Unmarshal(data, f.message); err != nil {
		f.err = err
	}
	return nil
}

// receive decodes a request by a function that gRPC gives, or the in-process
// connection.
func receive(decode func(any) error, message any) error {
	f := frame{message: message}
	if err := decode(&f); err != nil {
		return err
	}
	if f.err != nil {
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "MESSAGE_UNREADABLE", Detail: "the request message cannot be decoded", Err: f.err,
		}
	}
	return nil
}
