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
		{"./nowhere", "directory not found", false},
	} {
		out, err := exec.Command("layshaft", "vet", c.path).CombinedOutput()
		if (err == nil) != c.ok || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s; want %s", c.path, err, out, c.want)
		}
	}
}
