package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A path without a history is refused with the way out.
func TestHistoryOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no such file or directory: give the data directory of a coordinator (-data), or a file of",
		dir:                        "give the data directory of a coordinator",
		file:                       "this is not a history, or it was cut",
	} {
		if err := (&historyCmd{Path: path}).Run(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
