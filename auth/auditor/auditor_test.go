package auditor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
)

const secret = "0123456789abcdef0123456789abcdef"

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuthenticate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auditors")
	other := strings.Repeat("z", 40)
	write(t, file, "# the team of audit\n"+secret+"\n\n  "+other+"  \n")
	a, err := New(Config{File: file})
	if err != nil {
		t.Fatal(err)
	}
	show := func(header string) (identity.Principal, error) {
		return a.Authenticate(t.Context(), auth.Credentials{Authorization: header})
	}
	for _, good := range []string{secret, other} {
		p, err := show("Bearer " + good)
		if err != nil || !p.Has(identity.RoleReader) || p.Has(identity.RoleAdmin) || p.Has(identity.RoleRequester) || p.Method != identity.Auditor {
			t.Errorf("%+v, %v", p, err)
		}
		if strings.Contains(p.ID, good) || p.Evidence == ([32]byte{}) {
			t.Errorf("the principal %+v", p)
		}
	}
	for _, bad := range []string{"", "Bearer ", "Bearer " + secret[1:] + "x", "Bearer " + secret + "0", "Basic " + secret, "Bearer #" + secret, "Bearer " + strings.Repeat("0", 31)} {
		if _, err := show(bad); !errors.Is(err, auth.ErrNotMine) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// Taken out: refused at once. The file gone: an error, not a refusal of the token.
	write(t, file, other+"\n")
	if _, err := show("Bearer " + secret); !errors.Is(err, auth.ErrNotMine) {
		t.Errorf("a token that was taken out: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := show("Bearer " + other); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("without the file: %v", err)
	}
}

func TestFilesRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auditors")
	for name, text := range map[string]string{
		"empty": "", "only a comment": "# nothing\n", "short": "abc\n", "a space inside": secret + " " + secret + "\n",
		"too many": strings.Repeat(secret+"\n", 65), "too large": strings.Repeat("#\n", 40000), "not ASCII": strings.Repeat("ä", 32),
	} {
		write(t, file, text)
		if _, err := New(Config{File: file}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, file, secret+"\n")
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{File: file}); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("readable by everybody: %v", err)
	}
	if err := syscall.Mkfifo(file+".pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{File: file + ".pipe"}); !errors.Is(err, plainfile.ErrNotRegular) {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := New(Config{File: file + ".none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "# x\n", secret, secret + "\n" + secret, "a b\n", "\x00\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parse("file", text)
		if err != nil {
			return
		}
		for _, each := range tokens {
			if got, ok := auth.Bearer("Bearer " + each); !ok || got != each || len(each) < minToken || len(tokens) > maxTokens {
				t.Errorf("%q", each)
			}
		}
	})
}
