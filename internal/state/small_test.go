package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Replace keeps a link and replaces its target. It refuses all but regular files.
func TestReplace(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("file", nil, 0o600), os.Mkdir("dir", 0o700), os.Symlink("missing", "dangling"), os.Symlink("file", "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"dir":      "dir: it is a directory; name another file",
		"dangling": "dangling: it is a link to a file that does not exist; remove it, or name another file",
		"file/x":   "file/x: it cannot be written: not a directory; name another file",
		os.DevNull: os.DevNull + ": it is not a regular file, so it cannot be replaced; name another file",
		"link":     "",
		"new":      "",
	} {
		err := Replace(path, []byte("x"), 0o600)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("Replace(%s) = %v, want %q", path, err, want)
		}
	}
	link, err := os.Lstat("link")
	if b, readErr := os.ReadFile("file"); err != nil || readErr != nil || link.Mode().IsRegular() || string(b) != "x" {
		t.Errorf("link: %v, file: %q, %v, %v", link.Mode(), b, err, readErr)
	}
}

// Every flipped byte and every cut of a small file is found, and repaired from its copy.
func TestSmallFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster")
	if _, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	const text = "layshaft cluster 1\nabc\n"
	if err := WriteFile(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(harm []byte) {
		t.Helper()
		for _, both := range []bool{false, true} {
			err := os.WriteFile(path, harm, 0o600)
			if both {
				err = errors.Join(err, os.WriteFile(path+copySuffix, harm, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadFile(path)
			switch {
			case both && !errors.Is(err, ErrDamaged):
				t.Errorf("%q: %q, %v, want ErrDamaged", harm, got, err)
			case !both && (err != nil || string(got) != text):
				t.Errorf("%q: %q, %v, want the copy", harm, got, err)
			}
			if b, _ := os.ReadFile(path); !both && string(b) != string(whole) {
				t.Errorf("%q is not repaired", harm)
			}
		}
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for at := range whole {
		flipped := slices.Clone(whole)
		flipped[at] ^= 0x10
		check(flipped)
		check(whole[:at])
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(path); err != nil || string(got) != text {
		t.Errorf("without the file: %q, %v", got, err)
	}
}
