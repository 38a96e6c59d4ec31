package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestReadme runs this program as README.md does, and compares its output and its code with what
// README.md shows.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```\n\\$ go run ./examples/brands (\\S+)\n(.*?\n)\n?(?:\\$ |```)").FindSubmatch(readme)
	if shown == nil {
		t.Fatal("README.md does not run this program")
	}
	cmd := exec.Command("go", "run", ".", "../../"+string(shown[1]))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil || string(out) != string(shown[2]) {
		t.Errorf("%v\n%s\nREADME.md shows\n%s", err, out, shown[2])
	}
	code, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(code), "\npackage main\n")
	if !strings.Contains(string(readme), "```go\npackage main\n"+body+"```\n") {
		t.Error("README.md does not show main.go as it is, from its package clause on")
	}
}
