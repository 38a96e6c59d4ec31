//go:build unix

package child

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// InspectOnce reads a program once, and again after any change of its file; a stale cache entry is
// never used.
func TestInspectOnce(t *testing.T) {
	dir, memory := t.TempDir(), filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "program")
	later := func() time.Time { return time.Now().Add(time.Minute) }
	write := func(text string) (hash string) {
		t.Helper()
		b := append(elfFile(62, ""), text...)
		if err := os.WriteFile(path, b, 0o700); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	inspect := func(now func() time.Time, want string) {
		t.Helper()
		c, err := inspectOnce(path, memory, now)
		if err != nil || c.SHA256 != want || c.Platform != "linux/amd64" {
			t.Errorf("%+v, %v, want hash %.12s", c, err, want)
		}
	}
	file := filepath.Join(memory, "program.json")
	one := write("one")
	inspect(time.Now, one)
	if _, err := os.Stat(file); err == nil {
		t.Error("a file that was just written is cached, though it may change within one tick of its clock")
	}
	inspect(later, one)
	var k cacheEntry
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &k) != nil || k.Code.SHA256 != one {
		t.Fatalf("cache entry: %s, %v", b, err)
	}
	inspect(later, one)

	// The cache entry is used, so the program is not read again ...
	k.Code.SHA256 = hex.EncodeToString(make([]byte, 32))
	b, _ = json.Marshal(k)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	inspect(later, k.Code.SHA256)
	// ... until its file is another one, though of the same size and time.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	two := write("two")
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	inspect(later, two)

	for _, broken := range []string{"", "{", `{"Path":"` + path + `"}`} {
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		inspect(later, two)
	}
	if left, _ := filepath.Glob(filepath.Join(memory, "*")); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	if _, err := inspectOnce(filepath.Join(dir, "none"), memory, later); err == nil {
		t.Error("no error for a file that is not there")
	}
}

// InspectOnce works without a usable cache.
func TestInspectOnceWithoutMemory(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below a file")} {
		if c, err := inspectOnce(path, dir, time.Now); err != nil || c != want {
			t.Errorf("%s: %+v, %v", dir, c, err)
		}
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if c, err := InspectOnce(path); err != nil || c != want {
		t.Errorf("without a cache directory: %+v, %v", c, err)
	}
}
