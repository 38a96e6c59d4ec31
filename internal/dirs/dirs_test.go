package dirs

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMkdirAll makes directories below a link to nothing, and below a link that loops.
func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	for link, target := range map[string]string{"dangling": "/nowhere/x", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "dangling")
	for _, to := range []string{link, filepath.Join(link, "a", "b")} {
		want := "mkdir " + link + ": it is a link to /nowhere/x, which does not exist"
		if err := MkdirAll(to, 0o755); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", to, err, want)
		}
	}
	if err := MkdirAll(filepath.Join(dir, "loop", "a"), 0o755); err == nil {
		t.Error("a directory in a loop of links was made")
	}
	if err := MkdirAll(filepath.Join(dir, "new", "a"), 0o755); err != nil {
		t.Error(err)
	}
}
