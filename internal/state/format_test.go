package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFormatCheck(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"layshaft journal 2", ""},
		{"layshaft journal 2\n", ""},
		{"layshaft journal 3\n", `unknown format "layshaft journal 3"; this release reads "layshaft journal 2"; use the newer release that wrote it, or another directory`},
		{"layshaft journal 1\n", `unknown format "layshaft journal 1"; this release reads "layshaft journal 2"; use the older release that wrote it, or another directory`},
		{"layshaft tasks 2\n", "unknown format: it holds tasks, not journal; use another directory"},
		{"", `unknown format ""; this release reads "layshaft journal 2"; if only this line is damaged, replace it with "layshaft journal 2", else restore a copy, or use another directory`},
		{"layshaft journal 0\n", `unknown format "layshaft journal 0"; this release reads "layshaft journal 2"; if only this line is damaged, replace it with "layshaft journal 2", else restore a copy, or use another directory`},
		{"layshaft journal\n", `unknown format "layshaft journal"; this release reads "layshaft journal 2"; if only this line is damaged, replace it with "layshaft journal 2", else restore a copy, or use another directory`},
	} {
		err := Format{"journal", 2}.Check(c.line, "another directory")
		if got := errorText(err); got != c.want || (err != nil) != errors.Is(err, ErrFormat) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Open refuses a directory of another format before it touches the files, even if they are
// disposable.
func TestOpenChecksFormat(t *testing.T) {
	_, whole := stored(t)
	disposable := quick
	disposable.Disposable = true
	for name, c := range map[string]struct {
		harm func(path string) error
		want string
	}{
		"newer": {func(path string) error { return os.WriteFile(path, []byte("layshaft test 2\n"), 0o600) }, "newer release"},
		"kind":  {func(path string) error { return os.WriteFile(path, []byte("layshaft tasks 1\n"), 0o600) }, "it holds tasks, not test"},
		"empty": {func(path string) error { return os.Truncate(path, 0) }, "restore a copy"},
		"gone":  {os.Remove, "no file FORMAT"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, whole)
			path := filepath.Join(dir, FormatName)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.harm(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "db", "00099.mem"), nil, 0o600); err != nil { // Open would remove it
				t.Fatal(err)
			}
			for _, opt := range []Options{quick, disposable} {
				if _, err := Open(dir, "db", testFormat, opt); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want ErrFormat and %q", err, c.want)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "db", "00099.mem")); err != nil {
				t.Errorf("a refused store was changed: %v", err)
			}
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			db := open(t, dir)
			if n := values(t, db); n != 20 {
				t.Errorf("%d values, want 20", n)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A process that was killed while it created a store leaves a directory that opens.
func TestKilledBeforeFirstOpen(t *testing.T) {
	for name, files := range map[string][]string{
		"locked":         {LockName},
		"format begun":   {LockName, FormatName + ".tmp"},
		"format written": {LockName, FormatName},
		"used otherwise": {"code/hash", "self.json"}, // as in the directory of a worker
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range files {
				path := filepath.Join(dir, file)
				content := ""
				if file == FormatName {
					content = testFormat.String() + "\n"
				}
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := open(t, dir).Close(); err != nil {
					t.Error(err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}
