package main

import "github.com/spf13/cobra"

func storageGroup(a *app) *cobra.Command {
	return group("storage", "The database's file: space, compaction, scrub", `
The database is one file in the data folder. What is deleted leaves pages that are
used again; a compaction gives them back to the disk.`,
		storageStatusCommand(a), storageCompactCommand(a), storageScrubCommand(a))
}
