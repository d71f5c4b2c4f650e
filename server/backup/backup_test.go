package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

func contents() map[string]string {
	return map[string]string{"format": "f", "keys/issuing.crt": "crt", "ledger.db": strings.Repeat("page", 5000)}
}

func manifest() Manifest {
	m := Manifest{Version: Version, Time: time.Unix(1e9, 0).UTC(), Program: "test", Checkpoint: "c", VerifierKey: "k", Database: "ledger.db"}
	for _, name := range []string{"format", "keys/issuing.crt", "ledger.db"} {
		text := contents()[name]
		m.Files = append(m.Files, File{name, int64(len(text)), Sum(sha256.Sum256([]byte(text)))})
	}
	return m
}

func opened(name string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(contents()[name])), nil
}

func archive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, manifest(), opened); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(r io.Reader) (Manifest, map[string]string, error) {
	got := map[string]string{}
	m, err := Read(r, func(Manifest) error { return nil }, func(f File, from io.Reader) error {
		data, err := io.ReadAll(from)
		got[f.Name] = string(data)
		return err
	})
	return m, got, err
}

func TestArchive(t *testing.T) {
	m, got, err := readAll(bytes.NewReader(archive(t)))
	if err != nil || fmt.Sprint(m) != fmt.Sprint(manifest()) || fmt.Sprint(got) != fmt.Sprint(contents()) || m.Keys() {
		t.Errorf("%+v, %v", m, err)
	}
	m.Files[1].Name = "keys/issuing.key"
	if !m.Keys() {
		t.Error("a private key is not seen")
	}
}

// tarOf is an archive of any members.
func tarOf(t *testing.T, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, members[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(t *testing.T, change func(*Manifest)) string {
	t.Helper()
	m := manifest()
	change(&m)
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRefusals(t *testing.T) {
	same := func(*Manifest) {}
	c := contents()
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "no backup of Certwright"},
		{"text", []byte("hello"), "no backup of Certwright"},
		{"garbage", bytes.Repeat([]byte("garb"), 1000), "no backup of Certwright"},
		{"another archive", tarOf(t, "a", "b"), "no backup of Certwright"},
		{"a newer version", tarOf(t, manifestName, `{"version":2,"more":[]}`), "version 2, this program knows 1"},
		{"an unknown field", tarOf(t, manifestName, `{"version":1,"more":[]}`), "manifest cannot be read"},
		{"no files", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files = nil })), "names 0 files"},
		{"a path outside", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files[0].Name = "../format" })), "is not the name of a file"},
		{"an absolute path", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files[0].Name = "/etc/passwd" })), "is not the name of a file"},
		{"a hidden file", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files[0].Name = ".new" })), "is not the name of a file"},
		{"twice", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files[1].Name = "format" })), "twice"},
		{"too large", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Files[0].Size = MaxFile + 1 })), "octets"},
		{"no database", tarOf(t, manifestName, text(t, func(m *Manifest) { m.Database = "other" })), "last file is not the database"},
		{"a member missing", tarOf(t, manifestName, text(t, same), "format", c["format"]), "it is cut"},
		{"another member", tarOf(t, manifestName, text(t, same), "policy.yaml", c["format"]), "stands where its manifest has"},
		{"another length", tarOf(t, manifestName, text(t, same), "format", "ff"), "stands where its manifest has"},
		{"other octets", tarOf(t, manifestName, text(t, same), "format", "g"), "it was changed, or is of another backup"},
		{"a member more", tarOf(t, manifestName, text(t, same), "format", c["format"], "keys/issuing.crt", c["keys/issuing.crt"], "ledger.db", c["ledger.db"], "x", "y"), "more in it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := readAll(bytes.NewReader(test.data)); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q, want one line with %q", err, test.want)
			}
		})
	}
}

// block is one member of a tar archive by hand.
func block(name string, kind byte, data string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000600\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        %c", len(data), kind))
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return slices.Concat(h, []byte(data), make([]byte, -len(data)&511))
}

// TestSparse: a small archive cannot say that it has a large database of holes.
func TestSparse(t *testing.T) {
	const size = 8 << 20
	m := manifest()
	m.Files = []File{{"ledger.db", size, Sum(sha256.Sum256(make([]byte, size)))}}
	head, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var records string
	for _, each := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=ledger.db", fmt.Sprintf("GNU.sparse.realsize=%d", size)} {
		n := len(each) + 2 + len("00")
		records += fmt.Sprintf("%d %s\n", n, each)
	}
	holes := fmt.Sprintf("1\n%d\n0\n", size)
	holes += strings.Repeat("\x00", 512-len(holes))
	var data []byte
	for _, each := range [][]byte{block(manifestName, '0', string(head)), block("pax", 'x', records), block("ledger.db", '0', holes), make([]byte, 1024)} {
		data = append(data, each...)
	}
	if h, err := tar.NewReader(bytes.NewReader(data[len(block(manifestName, '0', string(head))):])).Next(); err != nil || h.Size != size {
		t.Fatalf("the archive is not as the test wants it: %+v, %v", h, err)
	}
	_, got, err := readAll(bytes.NewReader(data))
	if err == nil || !strings.Contains(err.Error(), "holes") || len(got["ledger.db"]) > 0 {
		t.Errorf("%d octets out of %d, %v", len(got["ledger.db"]), len(data), err)
	}
}

// TestDamage: every bit of a file's octets counts, and every length.
func TestDamage(t *testing.T) {
	whole := archive(t)
	for at := 0; at < len(whole); at += 7 {
		data := bytes.Clone(whole)
		data[at] ^= 1 << (at % 8)
		m, got, err := readAll(bytes.NewReader(data))
		if err == nil && (fmt.Sprint(got) != fmt.Sprint(contents()) || fmt.Sprint(m.Files) != fmt.Sprint(manifest().Files)) {
			t.Errorf("a flip at %d is not seen", at)
		}
	}
	for at := 0; at < len(whole)-3*512; at += 511 { // an archive ends with 1024 octets of nothing, after what fills up its last file
		if _, _, err := readAll(bytes.NewReader(whole[:at])); err == nil {
			t.Errorf("cut at %d is not seen", at)
		}
	}
}

func TestEncrypted(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := Recipients([]byte("# us\n" + identity.Recipient().String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := Encrypt(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(archive(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("page")) {
		t.Error("it is in clear")
	}
	r, err := Open(bytes.NewReader(b.Bytes()), []byte(identity.String()))
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := readAll(r); err != nil || fmt.Sprint(got) != fmt.Sprint(contents()) {
		t.Errorf("%v", err)
	}
	if _, err := Open(bytes.NewReader(b.Bytes()), nil); !errors.Is(err, ErrEncrypted) {
		t.Errorf("without identity: %v", err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]string{"another": other.String(), "none": "hello"} {
		if _, err := Open(bytes.NewReader(b.Bytes()), []byte(keys)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	damaged := bytes.Clone(b.Bytes())
	damaged[len(damaged)/2] ^= 1
	r, err = Open(bytes.NewReader(damaged), []byte(identity.String()))
	if err == nil {
		_, _, err = readAll(r)
	}
	if err == nil {
		t.Error("a flip is not seen")
	}
	if _, err := Recipients([]byte("age1nobody")); err == nil {
		t.Error("no recipient is taken for one")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f))
	f.Add([]byte("hello"))
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = readAll(bytes.NewReader(data))
		if r, err := Open(bytes.NewReader(data), nil); err == nil {
			_, _, _ = readAll(r)
		}
	})
}
