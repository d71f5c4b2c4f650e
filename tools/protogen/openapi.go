package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// problemSchema is what REST answers as an error: not a message of the .proto
// files, because gRPC has google.rpc.Status in its place.
//
//go:embed problem.json
var problemSchema []byte

const (
	problemName = "Problem"
	problemRef  = "#/components/schemas/" + problemName
)

type object = map[string]any

// amend adds to the document what its generator has no words for: the error of
// every operation, and the envelope in which the gateway sends the messages of
// a stream. Keys come out sorted.
func amend(document []byte, streams map[string]bool) ([]byte, error) {
	var doc struct {
		OpenAPI    string                       `json:"openapi"`
		Info       object                       `json:"info"`
		Security   []object                     `json:"security"`
		Tags       []object                     `json:"tags"`
		Paths      map[string]map[string]object `json:"paths"`
		Components map[string]object            `json:"components"`
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields() // a member that is not named above would be lost
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	var problem object
	if err := json.Unmarshal(problemSchema, &problem); err != nil {
		return nil, fmt.Errorf("problem.json: %w", err)
	}
	schemas, ok := doc.Components["schemas"]
	if !ok {
		return nil, fmt.Errorf("OpenAPI document without schemas")
	}
	schemas[problemName] = problem
	for path, item := range doc.Paths {
		for method, operation := range item {
			responses, ok := operation["responses"].(object)
			if !ok {
				return nil, fmt.Errorf("%s %s has no responses", method, path)
			}
			responses["default"] = content("The error.", "application/problem+json", object{"$ref": problemRef})
			id, _ := operation["operationId"].(string)
			if streams[id] {
				envelop(responses)
			}
		}
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	return append(out, '\n'), err
}

func content(description, mediaType string, schema object) object {
	return object{"description": description, "content": object{mediaType: object{"schema": schema}}}
}

// envelop describes one line of a stream: {"result": message}, or as the last one
// {"error": google.rpc.Status}, because the HTTP status is sent by then.
func envelop(responses object) {
	success, _ := responses["200"].(object)
	types, _ := success["content"].(object)
	body, _ := types["application/json"].(object)
	responses["200"] = content(
		"A stream of JSON objects, one a line. "+fmt.Sprint(success["description"]), "application/json",
		object{"type": "object", "properties": object{
			"result": body["schema"],
			"error": object{"type": "object", "properties": object{
				"code":    object{"type": "integer", "format": "int32", "description": "The gRPC code."},
				"message": object{"type": "string", "description": "What is wrong, one sentence."},
				"details": object{"type": "array", "items": object{"type": "object"}},
			}},
		}})
}

// streaming answers the operation IDs ("Service_Method") of the methods with an
// HTTP route that answer a stream.
func streaming(descriptors []*descriptorpb.FileDescriptorProto) map[string]bool {
	ids := map[string]bool{}
	for _, fd := range descriptors {
		for _, service := range fd.Service {
			for _, method := range service.Method {
				if method.GetServerStreaming() && proto.HasExtension(method.Options, annotations.E_Http) {
					ids[service.GetName()+"_"+method.GetName()] = true
				}
			}
		}
	}
	return ids
}
