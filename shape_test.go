package certwright_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// maxLines is the length that no handwritten file exceeds; most have about 120.
const maxLines = 500

// listed is what these tests read of go list's answer.
type listed struct {
	ImportPath, Dir                    string
	GoFiles, IgnoredGoFiles            []string
	TestGoFiles, XTestGoFiles          []string
	Imports, TestImports, XTestImports []string
}

// files returns the names of all Go files of the package, whatever their build constraints.
func (l listed) files() []string {
	return slices.Concat(l.GoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles)
}

// list asks go list for all packages of this module.
func list(t *testing.T) []listed {
	t.Helper()
	look(t)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list's answer: %v", err)
		}
		all = append(all, l)
	}
}

// look reads the folders that hold packages. The Go command keeps a test's result until a file or folder changes that the test
// itself has opened; what go list opens in its own process does not count, and a new room would go unseen.
func look(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == "." {
			return err
		}
		switch name := entry.Name(); {
		case strings.HasPrefix(name, "."), name == "testdata", path == "bin", path == "certwright-data", path == "tools":
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listSources returns every package with its imports, those of files that this platform or these build tags leave out
// included.
func listSources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, l := range list(t) {
		path, ours := place(l.ImportPath)
		if !ours {
			t.Fatalf("%s is not in %s", l.ImportPath, module)
		}
		s := source{path: path, imports: l.Imports, testImports: slices.Concat(l.TestImports, l.XTestImports)}
		for _, name := range l.IgnoredGoFiles {
			imports := parse(t, filepath.Join(l.Dir, name), parser.ImportsOnly).Imports
			for _, spec := range imports {
				imp, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(name, "_test.go") {
					s.testImports = append(s.testImports, imp)
				} else {
					s.imports = append(s.imports, imp)
				}
			}
		}
		all = append(all, s)
	}
	return all
}

func parse(t *testing.T, name string, mode parser.Mode) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the fields of each line of the fenced block of that name in docs/architecture.md.
func block(t *testing.T, name string) [][]string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, "docs/architecture.md"), "\n```"+name+"\n")
	text, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("docs/architecture.md has no block %q", name)
	}
	var lines [][]string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, fields)
		}
	}
	return lines
}

// readHouse reads the floors, homes and only blocks.
func readHouse(t *testing.T) house {
	t.Helper()
	h := house{floors: map[string]int{}, homes: map[string][]string{}, only: map[string][]string{}, core: map[string][]string{}}
	for floor, rooms := range block(t, "floors") {
		for _, room := range rooms {
			h.floors[room] = floor
		}
	}
	for name, into := range map[string]map[string][]string{"homes": h.homes, "only": h.only, "core": h.core} {
		for _, fields := range block(t, name) {
			into[fields[0]] = fields[1:]
		}
	}
	return h
}

func TestFilesAreShort(t *testing.T) {
	for _, l := range list(t) {
		for _, name := range l.files() {
			path := filepath.Join(l.Dir, name)
			if ast.IsGenerated(parse(t, path, parser.PackageClauseOnly|parser.ParseComments)) {
				continue
			}
			if lines := strings.Count(read(t, path), "\n"); lines > maxLines {
				t.Errorf("%s/%s has %d lines; the most is %d", l.ImportPath, name, lines, maxLines)
			}
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	for _, l := range list(t) {
		if len(l.GoFiles) == 0 { // tests only
			continue
		}
		commented := slices.ContainsFunc(l.GoFiles, func(name string) bool {
			file := parse(t, filepath.Join(l.Dir, name), parser.PackageClauseOnly|parser.ParseComments)
			generated := ast.IsGenerated(file)
			return generated || strings.HasPrefix(file.Doc.Text(), "Package ") || strings.HasPrefix(file.Doc.Text(), "Command ")
		})
		if !commented {
			t.Errorf("%s has no comment that begins with Package or Command", l.ImportPath)
		}
	}
}

// TestLaterRooms keeps the page true to what is built: a room is either there or marked "later" in the table of rooms.
func TestLaterRooms(t *testing.T) {
	page := read(t, "docs/architecture.md")
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9/-]+)/` \\|([^|]*)\\|")
	rows := map[string]bool{}
	for _, match := range row.FindAllStringSubmatch(page, -1) {
		path, later := match[1], strings.Contains(match[2], "*later*")
		rows[room(path)] = true
		switch _, err := os.Stat(path); {
		case err == nil && later:
			t.Errorf("%s is there, but docs/architecture.md says later", path)
		case err != nil && !later:
			t.Errorf("%s is in docs/architecture.md, but not there", path)
		}
	}
	for room := range readHouse(t).floors {
		if !rows[room] {
			t.Errorf("the room %s has no row in docs/architecture.md", room)
		}
	}
}

// TestDependenciesAreExplained holds docs/dependencies.md against the direct requirements of go.mod.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, require := range mod.Require {
		if !require.Indirect {
			direct[require.Mod.Path] = true
		}
	}
	explained := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([^` ]+\\.[^` ]+/[^` ]+)` \\|")
	page, _, _ := strings.Cut(read(t, "docs/dependencies.md"), "\n## Tools")
	for _, match := range row.FindAllStringSubmatch(page, -1) {
		explained[match[1]] = true
		if !direct[match[1]] {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", match[1])
		}
	}
	for path := range direct {
		if !explained[path] {
			t.Errorf("docs/dependencies.md does not explain %s", path)
		}
	}
}
