package book

import "os"

// Lock keeps every other auditor and witness out of a folder until the file is closed.
func Lock(dir string) (*os.File, error) { return lock(dir) }
