// Package certwright_test holds the rules of the whole repository against its code. docs/architecture.md is where the
// rules are written, in fenced blocks that these tests read: the drawing is the rule.
package certwright_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/certwright/certwright"

// testFolders hold tests of the whole: they may import anything, and nothing may import them.
var testFolders = []string{"e2e", "bench"}

// house is what docs/architecture.md says about who may import whom.
type house struct {
	floors map[string]int      // room → its floor, counted from the top: a greater number is lower
	homes  map[string][]string // import path prefix of another module → the places that may import it; "*" is everywhere
	only   map[string][]string // package → the only rooms of this module that it may import
	core   map[string][]string // package → the only packages that it may import beyond the standard library
}

// source is one package of this module: its path inside the module and what it imports.
type source struct {
	path        string
	imports     []string // by its code
	testImports []string // by its _test.go files
}

// place is the package's path in the form in which homes are written: "" for the module's root.
func place(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// room is the top folder of a package's path.
func room(path string) string {
	top, _, _ := strings.Cut(path, "/")
	return top
}

// within tells whether path is the place or lies under it.
func within(path, place string) bool {
	return path == place || strings.HasPrefix(path, place+"/")
}

// layers returns what in s breaks the floors. Code imports rooms below its own; tests may also look sideways, because what
// they join is nobody's dependency. Packages of one room import each other freely.
func (h house) layers(s source) []string {
	own := room(s.path)
	if slices.Contains(testFolders, own) {
		return nil
	}
	if s.path == "" {
		if len(s.imports) > 0 {
			return []string{"the module's root holds tests only"}
		}
		return nil
	}
	floor, ok := h.floors[own]
	if !ok {
		return []string{fmt.Sprintf("%s: the room %q stands on no floor", s.path, own)}
	}
	var broken []string
	check := func(imports []string, sideways bool) {
		for _, imp := range imports {
			to, ours := place(imp)
			if !ours || room(to) == own {
				continue
			}
			other, ok := h.floors[room(to)]
			switch {
			case !ok:
				broken = append(broken, fmt.Sprintf("%s imports %s, which stands on no floor", s.path, to))
			case other < floor:
				broken = append(broken, fmt.Sprintf("%s imports %s, on a floor above", s.path, to))
			case other == floor && !sideways:
				broken = append(broken, fmt.Sprintf("%s imports %s, on its own floor", s.path, to))
			}
		}
	}
	check(s.imports, false)
	check(s.testImports, true)
	return slices.Concat(broken, h.onlyRooms(s), h.onlyPackages(s))
}

// onlyPackages returns the imports of s outside its list in the core block, whoever made them.
func (h house) onlyPackages(s source) []string {
	var broken []string
	for pkg, allowed := range h.core {
		if !within(s.path, pkg) {
			continue
		}
		for _, imp := range s.imports {
			first, _, _ := strings.Cut(imp, "/")
			if strings.Contains(first, ".") && !slices.Contains(allowed, imp) {
				broken = append(broken, fmt.Sprintf("%s imports %s; besides the standard library it may import only %s", s.path, imp, strings.Join(allowed, ", ")))
			}
		}
	}
	return broken
}

// onlyRooms returns the imports of s outside its list in the only block. One command's packages are a place of their own: they
// may import each other, and no other command.
func (h house) onlyRooms(s source) []string {
	var broken []string
	for pkg, allowed := range h.only {
		if !within(s.path, pkg) {
			continue
		}
		for _, imp := range s.imports {
			to, ours := place(imp)
			if ours && !within(to, pkg) && !slices.Contains(allowed, room(to)) {
				broken = append(broken, fmt.Sprintf("%s imports %s; it may import only %s", s.path, to, strings.Join(allowed, ", ")))
			}
		}
	}
	return broken
}

// strangers returns the imports of other modules that s makes away from their homes. The longest prefix decides. Tests may use
// any module of go.mod.
func (h house) strangers(s source) []string {
	if slices.Contains(testFolders, room(s.path)) {
		return nil
	}
	var broken []string
	for _, imp := range s.imports {
		first, _, _ := strings.Cut(imp, "/")
		if _, ours := place(imp); ours || !strings.Contains(first, ".") { // the standard library has no dot
			continue
		}
		prefix := ""
		for p := range h.homes {
			if within(imp, p) && len(p) > len(prefix) {
				prefix = p
			}
		}
		homes := h.homes[prefix]
		switch {
		case prefix == "":
			broken = append(broken, fmt.Sprintf("%s imports %s, which has no home in docs/architecture.md", s.path, imp))
		case slices.Contains(homes, "*"):
		case !slices.ContainsFunc(homes, func(home string) bool { return within(s.path, home) }):
			broken = append(broken, fmt.Sprintf("%s imports %s, whose home is %s", s.path, imp, strings.Join(homes, ", ")))
		}
	}
	return broken
}

func TestFloors(t *testing.T) {
	h := readHouse(t)
	for _, s := range listSources(t) {
		for _, broken := range h.layers(s) {
			t.Error(broken)
		}
	}
	for pkg := range h.core {
		if _, err := os.Stat(pkg); err != nil {
			t.Errorf("core: %v", err)
		}
	}
}

func TestThirdPartyHomes(t *testing.T) {
	h := readHouse(t)
	for _, s := range listSources(t) {
		for _, broken := range h.strangers(s) {
			t.Error(broken)
		}
	}
	for prefix, homes := range h.homes {
		for _, home := range homes {
			if _, ok := h.floors[room(home)]; !ok && home != "*" {
				t.Errorf("homes: %s lives in %s, which stands on no floor", prefix, home)
			}
		}
	}
}

// TestRulesBite shows the rules a house with faults, so that a rule that has stopped seeing them fails here.
func TestRulesBite(t *testing.T) {
	h := house{
		floors: map[string]int{"cmd": 0, "api": 1, "acme": 1, "ledger": 2, "merkle": 3},
		homes: map[string][]string{
			"go.example/db":     {"ledger/disk"},
			"go.example/db/doc": {"api"},
			"go.example/any":    {"*"},
		},
		only: map[string][]string{"cmd/audit": {"merkle"}},
		core: map[string][]string{"ledger/core": {module + "/merkle", "go.example/any"}},
	}
	ours := func(path string) string { return module + "/" + path }
	tests := []struct {
		name   string
		source source
		broken int
	}{
		{"down", source{path: "api", imports: []string{ours("ledger"), ours("merkle/tile"), "fmt"}}, 0},
		{"own room", source{path: "ledger/disk", imports: []string{ours("ledger")}}, 0},
		{"sideways", source{path: "api", imports: []string{ours("acme")}}, 1},
		{"sideways in a test", source{path: "api", testImports: []string{ours("acme")}}, 0},
		{"up", source{path: "merkle/tile", imports: []string{ours("ledger")}}, 1},
		{"up in a test", source{path: "merkle", testImports: []string{ours("ledger")}}, 1},
		{"no floor", source{path: "util"}, 1},
		{"import of no floor", source{path: "api", imports: []string{ours("e2e")}}, 1},
		{"import of the root", source{path: "api", imports: []string{module}}, 1},
		{"code in the root", source{path: "", imports: []string{"fmt"}}, 1},
		{"end to end", source{path: "e2e", imports: []string{ours("cmd/audit"), "go.example/db"}}, 0},
		{"only", source{path: "cmd/audit", imports: []string{ours("merkle"), ours("ledger"), ours("cmd/other")}}, 2},
		{"core", source{path: "ledger/core", imports: []string{"crypto/x509", ours("merkle"), "go.example/any"}}, 0},
		{"core, more", source{path: "ledger/core", imports: []string{ours("merkle/tile"), "go.example/any/x"}}, 2},
		{"core, in a test", source{path: "ledger/core", testImports: []string{"go.example/any/x"}}, 0},
		{"at home", source{path: "ledger/disk", imports: []string{"go.example/db", "go.example/any/x"}}, 0},
		{"away from home", source{path: "ledger", imports: []string{"go.example/db"}}, 1},
		{"longest prefix", source{path: "ledger/disk", imports: []string{"go.example/db/doc"}}, 1},
		{"a prefix ends at a slash", source{path: "ledger/disk", imports: []string{"go.example/dbx"}}, 1},
		{"unknown module in a test", source{path: "ledger", testImports: []string{"go.example/unknown"}}, 0},
		{"unknown module", source{path: "ledger", imports: []string{"go.example/unknown"}}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			broken := append(h.layers(test.source), h.strangers(test.source)...)
			if len(broken) != test.broken {
				t.Errorf("%d rules broken, want %d: %q", len(broken), test.broken, broken)
			}
		})
	}
}
