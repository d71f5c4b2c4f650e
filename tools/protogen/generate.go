package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// Where the generated files lie, relative to the repository.
const (
	protoDir      = "proto"
	descriptorSet = "proto/certwright/v1/certwright.binpb"
	openAPI       = "api/openapi/openapi.json"
)

// first is the file whose document-level OpenAPI options hold for the whole document.
const first = "certwright/v1/certificate_service.openapi.json"

// tools are the packages of the commands that generate, built from this module's go.mod.
var tools = []string{
	"google.golang.org/protobuf/cmd/protoc-gen-go",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc",
	"github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway",
	"github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3",
	"github.com/grpc-ecosystem/grpc-gateway/v2/openapiv3-merge",
}

// plugins maps each plugin to its parameter.
var plugins = map[string]string{
	"protoc-gen-go":           "paths=source_relative",
	"protoc-gen-go-grpc":      "paths=source_relative",
	"protoc-gen-grpc-gateway": "paths=source_relative",
	"protoc-gen-openapiv3":    "disable_default_errors=true",
}

// generate answers the content of every generated file by its path relative to
// the repository.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	dir := filepath.Join(root, protoDir)
	names, err := sources(dir)
	if err != nil {
		return nil, err
	}
	descriptors, err := compile(ctx, dir, names)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "protogen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if err := build(ctx, temp); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	documents := map[string][]byte{}
	for plugin, parameter := range plugins {
		request := &pluginpb.CodeGeneratorRequest{
			FileToGenerate: names, Parameter: proto.String(parameter), ProtoFile: descriptors,
		}
		made, err := runPlugin(ctx, filepath.Join(temp, plugin), request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range made {
			if strings.HasSuffix(f.GetName(), ".openapi.json") {
				documents[f.GetName()] = []byte(f.GetContent())
				continue
			}
			files[protoDir+"/"+f.GetName()] = []byte(f.GetContent())
		}
	}
	merged, err := mergeDocuments(ctx, temp, documents)
	if err != nil {
		return nil, err
	}
	if files[openAPI], err = amend(merged, streaming(descriptors)); err != nil {
		return nil, err
	}
	files[descriptorSet], err = marshalSet(descriptors)
	return files, err
}

// build compiles the tools into dir.
func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, tools...)...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// runPlugin speaks the protocol of google/protobuf/compiler/plugin.proto.
func runPlugin(ctx context.Context, path string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s", response.GetError())
	}
	return response.File, nil
}

// mergeDocuments makes one OpenAPI document of one per .proto file.
func mergeDocuments(ctx context.Context, dir string, documents map[string][]byte) ([]byte, error) {
	var names []string
	for name, content := range documents {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600); err != nil {
			return nil, err
		}
		names = append(names, filepath.Base(name))
	}
	head := filepath.Base(first)
	sort.Slice(names, func(i, j int) bool {
		if (names[i] == head) != (names[j] == head) {
			return names[i] == head
		}
		return names[i] < names[j]
	})
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "openapiv3-merge"), names...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	merged, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("openapiv3-merge: %w", err)
	}
	return merged, nil
}

// marshalSet is the descriptor set: our files and their imports, without comments.
func marshalSet(descriptors []*descriptorpb.FileDescriptorProto) ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, fd := range descriptors {
		bare := proto.CloneOf(fd)
		bare.SourceCodeInfo = nil
		set.File = append(set.File, bare)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}
