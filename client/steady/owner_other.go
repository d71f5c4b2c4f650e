//go:build !unix

package steady

import "io/fs"

// Ours is true: files here have no owner that a number names.
func Ours(fs.FileInfo) bool { return true }

func trusted(fs.FileInfo) bool { return true }

func shut(fs.FileInfo) bool { return true }
