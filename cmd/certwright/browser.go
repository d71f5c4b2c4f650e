package main

import (
	"errors"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// openBrowser opens a URL, which is https, with the desktop's own command; false if
// there is none. What is opened is a file that leads to the URL: a command's arguments
// are shown to every user of this machine, and who has the URL's state and nonce could
// end the login as himself before the person does. close removes the file.
func (a *app) openBrowser(url string) (opened bool, closePage func()) {
	nothing := func() {}
	name := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		name = "open"
	case a.getenv("DISPLAY") == "" && a.getenv("WAYLAND_DISPLAY") == "":
		return false, nothing
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return false, nothing
	}
	page, err := a.leadTo(url)
	if err != nil {
		return false, nothing
	}
	remove := func() { _ = os.RemoveAll(filepath.Dir(page)) }
	cmd := exec.Command(path, page) //nolint:noctx,gosec // the browser outlives the login; the page is our own
	if cmd.Start() != nil {
		remove()
		return false, nothing
	}
	go func() { _ = cmd.Wait() }() // what becomes of the browser is the user's
	return true, remove
}

// leadTo writes a page that leads to a URL into a new folder of this user's alone. It is
// in HOME, and not hidden: browsers in a snap see neither /tmp nor what begins with a dot.
func (a *app) leadTo(url string) (string, error) {
	home := a.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("HOME is not set")
	}
	dir, err := os.MkdirTemp(home, "certwright-login-") // mode 0700
	if err != nil {
		return "", err
	}
	to := html.EscapeString(url)
	text := `<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url=` + to + `"><title>certwright login</title>
<p><a href="` + to + `" rel="noreferrer">Go on to the identity provider</a></p>
`
	page := filepath.Join(dir, "login.html")
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return page, nil
}
