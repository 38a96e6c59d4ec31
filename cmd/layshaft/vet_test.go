package main

import (
	"os/exec"
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
