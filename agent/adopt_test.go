package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/client"
)

// put puts a certificate into a folder as an admin or another program would.
func put(t *testing.T, dir string, h *folder.Held) (key, chain string) {
	t.Helper()
	text, err := client.EncodeKey(h.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, chain = filepath.Join(dir, "key.pem"), filepath.Join(dir, "fullchain.pem")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{key: text, chain: agenttest.PEM(h.Chain...)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, chain
}

// TestAdopts: a certificate that is what the file asks for, and whose key nobody else
// can know, is kept and renewed; its key is used for no other, reuse or not, over
// restarts too.
func TestAdopts(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "    key: {reuse: true}\n")
	found := h.ca.Held("web.internal")
	put(t, c.Certificates[0].Folder, found)
	open(t, c).Close()
	a := open(t, c)
	if s := a.Status().Certificates[0]; s.State != Valid || s.ID != found.ID() {
		t.Fatalf("%+v", s)
	}
	obtain(t, a)
	if last := h.last(t, 1); !last.renewal || !last.shown.Equal(found.Leaf()) {
		t.Errorf("%+v", last)
	}
	one := pair(t, a)
	if folder.Matches(found.Key, one) {
		t.Error("a key that others made was used again")
	}
	obtain(t, a)
	if two := pair(t, a); !bytes.Equal(one.RawSubjectPublicKeyInfo, two.RawSubjectPublicKeyInfo) {
		t.Error("the agent's own key was not used again")
	}
}

// TestAdoptsNot: what is not what the file asks for, or could be known to others, is
// never shown to a server, and a new one with a new key takes its place; its files are
// kept, and the note says why.
func TestAdoptsNot(t *testing.T) {
	chmod := func(mode os.FileMode, which int) func(t *testing.T, files ...string) {
		return func(t *testing.T, files ...string) {
			if err := os.Chmod(files[which], mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	type test struct {
		names  []string
		other  bool // CA
		change func(t *testing.T, files ...string)
		want   string
	}
	tests := map[string]test{
		"another CA":           {other: true, want: "does not lead to a trusted root"},
		"another name":         {names: []string{"admin.internal"}, want: "asked for was"},
		"more names":           {names: []string{"web.internal", "admin.internal"}, want: "asked for was"},
		"key read by all":      {change: chmod(0o604, 0), want: "readable by others (0604)"},
		"key read by a group":  {change: chmod(0o640, 0), want: "readable by others (0640)"},
		"key written by all":   {change: chmod(0o602, 0), want: "others can write to it (0602)"},
		"chain written by all": {change: chmod(0o646, 1), want: "others can write to it (0646)"},
	}
	if os.Geteuid() == 0 {
		tests["nobody's key"] = test{want: "the file of another user", change: func(t *testing.T, files ...string) {
			if err := os.Chown(files[0], 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			ca := h.ca
			if test.other {
				ca = agenttest.New(t)
			}
			if test.names == nil {
				test.names = []string{"web.internal"}
			}
			c := h.file(t, "    key: {reuse: true}\n")
			dir := c.Certificates[0].Folder
			found := ca.Held(test.names...)
			key, chain := put(t, dir, found)
			if test.change != nil {
				test.change(t, key, chain)
			}
			old, err := os.ReadFile(key)
			if err != nil {
				t.Fatal(err)
			}
			a := open(t, c)
			if s := a.Status().Certificates[0]; s.State != Missing || !strings.Contains(s.LastError, test.want) {
				t.Errorf("before: %+v", s)
			}
			if now, err := os.ReadFile(key); err != nil || !bytes.Equal(now, old) {
				t.Errorf("the files went before there was a new certificate: %v", err)
			}
			results, err := a.Obtain(t.Context(), nil, false)
			if err != nil || !results[0].Obtained || results[0].Err != nil || !strings.Contains(results[0].Note, test.want) {
				t.Fatalf("%+v %v", results, err)
			}
			if last := h.last(t, 1); last.renewal || last.shown != nil || last.token != "join-token" || folder.Matches(found.Key, pair(t, a)) {
				t.Errorf("%+v", last)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, ".aside", "key.pem")); err != nil || !bytes.Equal(kept, old) {
				t.Errorf("the old key is not kept: %v", err)
			}
			if info, err := os.Stat(filepath.Join(dir, ".aside")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v %v", info, err)
			}
		})
	}
}

// TestOthersFolder: what others could have put in the place of the agent's own copy, or
// read, is not used.
func TestOthersFolder(t *testing.T) {
	changes := map[string]func(t *testing.T, dir string) error{
		"read by all": func(_ *testing.T, dir string) error {
			return os.Chmod(filepath.Join(dir, "current", ".held.pem"), 0o644)
		},
		"a link": func(t *testing.T, dir string) error {
			own := filepath.Join(dir, "current", ".held.pem")
			moved := filepath.Join(t.TempDir(), "held")
			if err := os.Rename(own, moved); err != nil {
				return err
			}
			return os.Symlink(moved, own)
		},
		"no generation": func(_ *testing.T, dir string) error {
			generation, err := os.Readlink(filepath.Join(dir, "current"))
			if err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, generation), filepath.Join(dir, "theirs"))
		},
	}
	if os.Geteuid() == 0 {
		changes["nobody's"] = func(_ *testing.T, dir string) error {
			return os.Lchown(filepath.Join(dir, "current", ".held.pem"), 65534, 65534)
		}
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			c := h.file(t, "    key: {reuse: true}\n")
			a := open(t, c)
			obtain(t, a)
			one := pair(t, a)
			a.Close()
			if err := change(t, c.Certificates[0].Folder); err != nil {
				t.Fatal(err)
			}
			a = open(t, c)
			results, err := a.Obtain(t.Context(), nil, false)
			if err != nil || !results[0].Obtained {
				t.Fatalf("%+v %v", results, err)
			}
			if last := h.last(t, 2); last.renewal || last.token != "join-token" || bytes.Equal(one.RawSubjectPublicKeyInfo, pair(t, a).RawSubjectPublicKeyInfo) {
				t.Errorf("%+v", last)
			}
		})
	}
}

// TestOtherRoots: a certificate of a CA that the file trusts no longer is not shown, and
// its successor is asked for by auth.
func TestOtherRoots(t *testing.T) {
	h, next := newHostile(t), newHostile(t)
	c := h.file(t, "")
	a := open(t, c)
	obtain(t, a)
	a.Close()
	c.Server = next.address
	next.ca.RootFile(filepath.Dir(c.CAFile))
	a = open(t, c)
	results, err := a.Obtain(t.Context(), nil, false)
	if err != nil || !results[0].Obtained {
		t.Fatalf("%+v %v", results, err)
	}
	if last := next.last(t, 1); last.renewal || last.shown != nil || last.token != "join-token" {
		t.Errorf("%+v", last)
	}
}
