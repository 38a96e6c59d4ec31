package arrows

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longest is the number of lines of a file that can be read in one sitting.
const longest = 700

// TestFilesAreShort checks all files that people write, tests too.
func TestFilesAreShort(t *testing.T) {
	files := tracked(t, "*.go")
	if len(files) < 500 {
		t.Fatalf("only %d files were found", len(files))
	}
	for _, name := range files {
		if strings.HasSuffix(name, ".pb.go") || strings.Contains(name, "/testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > longest {
			t.Errorf("%s has %d lines: move one of its subjects to a file of its own; at most %d", name, n, longest)
		}
	}
}

// TestRootIsTidy finds files at the root that a program has left there.
func TestRootIsTidy(t *testing.T) {
	known := []string{".editorconfig", ".gitattributes", ".gitignore", "LICENSE", "Makefile", "buf.gen.yaml", "buf.yaml", "go.mod", "go.sum"}
	for _, name := range tracked(t, ":(glob)*") {
		if !slices.Contains(known, name) && !strings.HasSuffix(name, ".md") {
			t.Errorf("%s lies at the root: remove it, or list it here if people look for it there", name)
		}
	}
}

// tracked returns the files that git tracks and that are there, relative to the root.
func tracked(t *testing.T, pattern string) (names []string) {
	t.Helper()
	list, err := exec.Command("git", "-C", root, "ls-files", "-z", pattern).Output()
	if err != nil {
		t.Skipf("git does not list the files: %v; run in a checkout", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}
