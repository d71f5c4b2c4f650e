package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository makes a root with the files in it.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCompareNamesWhatIsNotFresh(t *testing.T) {
	root := repository(t, map[string]string{
		"proto/a.proto":     "source",
		"proto/a.pb.go":     "fresh",
		"proto/b.pb.go":     "edited",
		"proto/gone.gw.go":  "not ours",
		"proto/gone.pb.go":  "orphan",
		"proto/x/old.binpb": "orphan",
	})
	made := map[string][]byte{
		"proto/a.pb.go": []byte("fresh"),
		"proto/b.pb.go": []byte("made"),
		"api/new.json":  []byte("made"),
	}
	want := []string{"api/new.json", "proto/b.pb.go", "proto/gone.pb.go", "proto/x/old.binpb"}
	if got, err := compare(root, made); err != nil || !slices.Equal(got, want) {
		t.Fatalf("compare = %q, %v; want %q", got, err, want)
	}
	if err := write(root, made); err != nil {
		t.Fatal(err)
	}
	if got, err := compare(root, made); err != nil || len(got) > 0 {
		t.Errorf("after write, compare = %q, %v; want nothing", got, err)
	}
}

func TestHandwrittenFileIsRefused(t *testing.T) {
	root := repository(t, map[string]string{"proto/a.proto": "", "proto/a.pb.go": "", "proto/extra.go": ""})
	if err := onlyGenerated(root); err == nil || !strings.Contains(err.Error(), "proto/extra.go") {
		t.Errorf("onlyGenerated = %v; want an error that names proto/extra.go", err)
	}
}

func TestAmend(t *testing.T) {
	const document = `{"openapi": "3.1.0", "info": {}, "components": {"schemas": {}}, "paths": {
		"/one": {"get": {"operationId": "S_One", "responses": {"200": {"description": "One."}}}},
		"/all": {"post": {"operationId": "S_All", "responses": {"200": {"description": "All.",
			"content": {"application/json": {"schema": {"$ref": "#/all"}}}}}}}}}`
	out, err := amend([]byte(document), map[string]bool{"S_All": true})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out) {
		t.Fatal("not JSON")
	}
	for text, want := range map[string]int{
		`"application/problem+json"`: 2, // one for each operation
		`"Problem": {`:               1,
		`"result": {`:                1,
		`"$ref": "#/all"`:            1,
	} {
		if got := strings.Count(string(out), text); got != want {
			t.Errorf("%s stands %d times, want %d", text, got, want)
		}
	}
}

func TestAmendRefusesWhatItWouldLose(t *testing.T) {
	for _, document := range []string{`{`, `{"webhooks": {}}`, `{"paths": {}}`} {
		if _, err := amend([]byte(document), nil); err == nil {
			t.Errorf("amend(%s) = nil error", document)
		}
	}
}
