// Command protogen makes everything that is generated from proto/: the Go beside
// the .proto files (messages, gRPC, REST gateway), the descriptor set, and the
// OpenAPI 3.1 document. With -check it writes nothing and exits 1 with the
// names of the files that are not fresh.
//
// It needs nothing but Go: the compiler is protocompile, the plugins are built
// from this module, and the imports (google/api, google/protobuf, the gateway's
// options) are resolved from the descriptors linked into this program, so that
// no copy of them is kept here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	root := flag.String("root", "../..", "folder of the repository")
	check := flag.Bool("check", false, "write nothing; exit 1 and name what is not fresh")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *root, *check)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, check bool) error {
	if err := onlyGenerated(root); err != nil {
		return err
	}
	files, err := generate(ctx, root)
	if err != nil {
		return err
	}
	if !check {
		return write(root, files)
	}
	stale, err := compare(root, files)
	if err != nil {
		return err
	}
	for _, name := range stale {
		fmt.Fprintln(os.Stderr, name, "is not fresh")
	}
	if len(stale) > 0 {
		return errors.New("run make proto")
	}
	return nil
}
