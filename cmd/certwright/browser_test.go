package main

import (
	"errors"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestBrowserIsOpened: the desktop's command is given a page of the user's alone, and no
// argument says where it leads. It is gone with the login.
func TestBrowserIsOpened(t *testing.T) {
	o := newOffice(t)
	p := o.person()
	bin, told := t.TempDir(), filepath.Join(t.TempDir(), "told")
	opener := "#!/bin/sh\n{ echo \"$# $1\"; stat -c %a \"$1\" \"${1%/*}\"; cat \"$1\"; } >" + told + "\n"
	if err := errors.Join(syscall.Mkfifo(told, 0o600), os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(opener), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	p.env["DISPLAY"] = ":0"
	// The person waits for the browser, and follows the page.
	p.follows = func(shown string) string {
		text, err := os.ReadFile(told)
		lines := strings.SplitN(string(text), "\n", 4)
		if err != nil || len(lines) != 4 || !strings.HasPrefix(lines[0], "1 "+p.env["HOME"]+"/certwright-login-") || lines[1] != "600" || lines[2] != "700" {
			t.Errorf("%q %v", text, err)
			return shown
		}
		m := regexp.MustCompile(`content="0; url=([^"]+)"`).FindStringSubmatch(lines[3])
		if m == nil || html.UnescapeString(m[1]) != shown || strings.ContainsAny(m[1], "<> '") {
			t.Errorf("%s\ndoes not lead to %s", lines[3], shown)
		}
		return shown
	}
	p.login("root", "pki")
	left, err := os.ReadDir(p.env["HOME"])
	if err != nil || len(left) != 1 || left[0].Name() != ".local" {
		t.Errorf("%v %v", left, err)
	}

	// Without a place for the page, or an opener, the URL is there to be opened by hand.
	a, _, _ := testApp()
	a.getenv = func(name string) string { return map[string]string{"DISPLAY": ":0"}[name] }
	if opened, _ := a.openBrowser("https://idp.x"); opened {
		t.Error("opened without a HOME")
	}
	t.Setenv("PATH", t.TempDir())
	a.getenv = func(name string) string { return p.env[name] }
	if opened, _ := a.openBrowser("https://idp.x"); opened {
		t.Error("opened by nothing")
	}
}
