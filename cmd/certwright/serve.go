package main

import "github.com/spf13/cobra"

func serveCommand(a *app) *cobra.Command { return leaf{use: "serve"}.command() }
