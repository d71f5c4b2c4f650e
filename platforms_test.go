package certwright_test

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// builtAlways are the platforms of docs/cli.md that every run of the tests compiles for: one other Unix, and one that is none. A
// cold compiler takes a minute or two for each; "make cross" has all of them.
var builtAlways = []string{"darwin/arm64", "windows/amd64"}

// TestBuilds compiles both commands for other systems than this one. Nothing is linked for keeps, and nothing is run.
func TestBuilds(t *testing.T) {
	platforms := documented(t)
	if os.Getenv("CERTWRIGHT_CROSS") == "" {
		for _, platform := range builtAlways {
			if !slices.Contains(platforms, platform) {
				t.Errorf("docs/cli.md does not name %s, which is compiled for", platform)
			}
		}
		platforms = builtAlways
	}
	look(t)
	for _, platform := range platforms {
		system, machine, _ := strings.Cut(platform, "/")
		for _, command := range []string{"./cmd/certwright", "./cmd/certwright-audit"} {
			build := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, command)
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+machine)
			if out, err := build.CombinedOutput(); err != nil {
				t.Errorf("%s for %s: %v\n%s", command, platform, err, out)
			}
		}
	}
}

var platformRow = regexp.MustCompile("^\\| `([a-z]+/[a-z0-9]+)`")

// documented are the platforms of docs/cli.md's table, but for that which everything is tested on.
func documented(t *testing.T) (platforms []string) {
	t.Helper()
	page, err := os.Open("docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = page.Close() }()
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		if row := platformRow.FindStringSubmatch(lines.Text()); row != nil && row[1] != "linux/amd64" {
			platforms = append(platforms, row[1])
		}
	}
	if err := lines.Err(); err != nil || len(platforms) == 0 {
		t.Fatalf("docs/cli.md names no platforms: %v", err)
	}
	return platforms
}
