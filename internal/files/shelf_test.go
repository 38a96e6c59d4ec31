package files_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/files"
)

// A shelf refuses a directory with files of others, because the next runs would remove them.
func TestShelfRefusesForeignFiles(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  []string
		wanted string // in the error; empty if the directory fits
	}{
		{"empty", nil, ""},
		{"of an earlier run", []string{"index.json", "job-1/part-00000.kept", ".layshaft-job-2/part-00000.attempt-1.kept"}, ""},
		{"a file", []string{"notes.txt"}, "contains notes.txt"},
		{"a file in a directory", []string{"index.json", "2026/notes.txt"}, "contains 2026/notes.txt"},
		{"a directory in a directory", []string{"2026/11/part-00000.kept"}, "contains 2026/11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &files.Shelf{Path: filepath.Join(t.TempDir(), "out-partials"), NoSync: true}
			for _, name := range test.files {
				path := filepath.Join(s.Path, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := s.Check(t.Context())
			if test.wanted == "" && err != nil || test.wanted != "" && (err == nil || !strings.Contains(err.Error(), test.wanted)) {
				t.Errorf("%v, want %q", err, test.wanted)
			}
		})
	}
}
