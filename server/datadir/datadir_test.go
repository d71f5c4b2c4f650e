package datadir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func build(_ context.Context, temp string) error {
	if err := os.Mkdir(filepath.Join(temp, KeyDir), 0o700); err != nil {
		return err
	}
	return errors.Join(WriteFile(filepath.Join(temp, RootCert), nil), WriteFile(filepath.Join(temp, IssuingKey), nil))
}

func create(t *testing.T, dir string) error {
	return Create(t.Context(), dir, NewFormat(Dev), build)
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "parent", "data")
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Fatalf("nothing there: %v", err)
	}
	failed := errors.New("failed")
	err := Create(t.Context(), dir, NewFormat(Dev), func(context.Context, string) error { return failed })
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("folders are left behind: %v", err)
	}
	if err := create(t, dir); err != nil {
		t.Fatal(err)
	}
	first, err := Read(dir)
	if err != nil || first.Mode != Dev || first.Version != Version || first.Server == ([8]byte{}) {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := create(t, dir); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a second time: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestKilledCreate stands at every point where a process can have died: what is
// on the disk then is no data folder, and the next Create gives a whole one.
func TestKilledCreate(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	if err := create(t, whole); err != nil {
		t.Fatal(err)
	}
	moves := []string{RootCert, KeyDir}
	for moved := -2; moved <= len(moves); moved++ {
		dir := t.TempDir()
		temp := filepath.Join(dir, unfinished)
		if err := os.CopyFS(temp, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if moved == -2 { // died while build ran
			if err := os.RemoveAll(filepath.Join(temp, KeyDir)); err != nil {
				t.Fatal(err)
			}
		}
		if moved < 0 { // died before the format file
			if err := os.Remove(filepath.Join(temp, FormatFile)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range max(moved, 0) {
			if err := os.Rename(filepath.Join(temp, moves[i]), filepath.Join(dir, moves[i])); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Read(dir); !errors.Is(err, ErrNone) {
			t.Errorf("%d moved: %v", moved, err)
		}
		if err := create(t, dir); err != nil {
			t.Errorf("%d moved: %v", moved, err)
		}
		for _, name := range []string{FormatFile, RootCert, IssuingKey} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%d moved: %v", moved, err)
			}
		}
		if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d moved: %s is still there", moved, temp)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct{ name, file, text, want string }{
		{"newer", FormatFile, "certwright data format 2\nwho knows", "newer than this program's 1"},
		{"garbage", FormatFile, "hello", "is not a format file"},
		{"cut", FormatFile, "certwright data format 1\nmode dev\n", "is not whole"},
		{"mode", FormatFile, "certwright data format 1\nmode x\nserver 0102030405060708\n", "is not whole"},
		{"other folder", "holiday.jpg", "", "is not a data folder of Certwright"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := WriteFile(filepath.Join(dir, test.file), []byte(test.text)); err != nil {
				t.Fatal(err)
			}
			_, err := Read(dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err := create(t, dir); err == nil {
				t.Error("created over it")
			}
		})
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := create(t, dir); err != nil {
		t.Fatal(err)
	}
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), "another server is running") {
		t.Errorf("a second server: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = release()
}

func TestCheckSocket(t *testing.T) {
	if err := CheckSocket("/" + strings.Repeat("a", maxSocketPath-1)); err != nil {
		t.Error(err)
	}
	if err := CheckSocket("/" + strings.Repeat("a", maxSocketPath)); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("too long: %v", err)
	}
}

func FuzzParseFormat(f *testing.F) {
	f.Add([]byte("certwright data format 1\nmode dev\nserver 0102030405060708\n"))
	f.Add([]byte("certwright data format 9\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseFormat(data)
		if err != nil {
			return
		}
		if again, err := ParseFormat(got.Marshal()); err != nil || again != got {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}
