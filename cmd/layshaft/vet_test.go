package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVet vets a program with a finding, one without, and what is no package.
func TestVet(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles two programs")
	}
	for _, c := range []struct {
		path, want string
		ok         bool
	}{
		{"./testdata/vetted", "testdata/vetted/main.go:14:84: a function of a pipeline reads the flag least, whose value does not reach workers", false},
		{"../../examples/brands", "", true},
		{"./nowhere", "vet ./nowhere: the go command cannot list these packages in ", false},
		{"./testdata/golden/...", "no Go package is there", false},
	} {
		out, err := exec.Command("layshaft", "vet", c.path).CombinedOutput()
		if (err == nil) != c.ok || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s; want %s", c.path, err, out, c.want)
		}
	}
}

// TestVetOutside vets in a directory that lies in no module.
func TestVetOutside(t *testing.T) {
	dir := t.TempDir()
	c := exec.Command("layshaft", "vet", "./...")
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), dir+" lies in no Go module; change to the directory of a module") {
		t.Errorf("%v, %s", err, out)
	}
}

// TestVetWorkspace vets a module from the directory of its workspace, which lies in no module.
func TestVetWorkspace(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.work": "go 1.24\nuse ./a\n", "a/go.mod": "module a\ngo 1.24\n", "a/a.go": "package a\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("layshaft", "vet", "./a")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}
