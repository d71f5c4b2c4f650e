package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit: the unit's exposure is at most 2.0.
func TestSystemdUnit(t *testing.T) {
	out := tool(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20",
		filepath.Join("..", "deploy", "systemd", "certwright.service"))
	if !strings.Contains(out, "Overall exposure level") {
		t.Errorf("no level in:\n%s", out)
	}
}

// TestStaticBinary: the binary that "make build" makes runs in a container
// without any other file.
func TestStaticBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certwright")
	cmd := exec.Command("go", "build", "-o", path, "github.com/certwright/certwright/cmd/certwright")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f, err := elf.Open(path)
	check(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary needs a loader: %v", p.Type)
		}
	}
	// As the container runs it: no environment, no home, no folder to write to.
	bare := exec.Command(path, "version")
	bare.Env, bare.Dir = []string{}, "/"
	if r := runCommand(t, bare); r.code != 0 || r.stdout == "" {
		t.Errorf("version: exit %d %s", r.code, r.stderr)
	}
}

// TestManPages: a page for each command, in roff.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if r := runCommand(t, exec.Command(binary, "man", dir)); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	pages, err := os.ReadDir(dir)
	check(t, err)
	names := map[string]bool{}
	for _, page := range pages {
		names[page.Name()] = true
		text := readAll(t, filepath.Join(dir, page.Name()))
		for _, want := range []string{`.TH "CERTWRIGHT" "1"`, "\n.SH NAME\n", "\n.SH SYNOPSIS\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", page.Name(), want)
			}
		}
	}
	for _, want := range []string{"certwright.1", "certwright-serve.1", "certwright-cert-issue.1", "certwright-ledger-verify.1"} {
		if !names[want] {
			t.Errorf("no %s among %d pages", want, len(names))
		}
	}
}

// TestCompletion: the script for bash is bash, and the binary completes.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := runCommand(t, exec.Command(binary, "completion", shell))
		if r.code != 0 || !strings.Contains(r.stdout, "__complete") {
			t.Fatalf("completion %s: exit %d %s", shell, r.code, r.stderr)
		}
		if shell != "bash" {
			continue
		}
		path := filepath.Join(t.TempDir(), "completion")
		check(t, writeFile(path, r.stdout))
		tool(t, "bash", "-n", path)
	}
	if r := runCommand(t, exec.Command(binary, "__complete", "ledger", "")); !strings.Contains(r.stdout, "verify") {
		t.Errorf("ledger completes to %q", r.stdout)
	}
}
