package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

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
