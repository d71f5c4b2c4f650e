package main

import (
	"os/exec"
	"runtime"
)

// openBrowser opens a URL, which is https, with the desktop's own command; false if
// there is none.
func (a *app) openBrowser(url string) bool {
	name := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		name = "open"
	case a.getenv("DISPLAY") == "" && a.getenv("WAYLAND_DISPLAY") == "":
		return false
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return false
	}
	cmd := exec.Command(path, url) //nolint:noctx,gosec // the browser outlives the login; the URL was checked to be https
	if cmd.Start() != nil {
		return false
	}
	go func() { _ = cmd.Wait() }() // what becomes of the browser is the user's
	return true
}
