package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

func versionCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "version [flags]", short: "Print the version of this program",
		long: `
Prints the version of this program, the Go version it was built with, and its
platform.`,
		example: `
certwright version
certwright version -o json`,
		next: "certwright serve --dev",
		args: exactly(),
		run: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			r := rows{portrait: true, columns: columnsOf("certwright", "Go", "Platform")}
			r.add(version, version, runtime.Version(), platform)
			return a.print(map[string]string{"version": version, "go": runtime.Version(), "platform": platform}, r)
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}
