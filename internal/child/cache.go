package child

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// cacheEntry is the cached result of Inspect for a program's file.
type cacheEntry struct {
	Path string
	File string // see filesys.StateOf
	Code Code
}

// InspectOnce is Inspect with a cache, because hashing 40 MB takes 25 ms to 150 ms. The cache is in
// the user's cache directory, one file per program name. An entry is valid while the inode, the
// size and the times of the last change of content and inode are the same. Without a cache
// directory, or where files have no inodes, InspectOnce equals Inspect.
func InspectOnce(path string) (Code, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Inspect(path)
	}
	return inspectOnce(path, filepath.Join(dir, "layshaft", "programs"), time.Now)
}

func inspectOnce(path, dir string, now func() time.Time) (Code, error) {
	file, changed := identity(path)
	if file == "" {
		return Inspect(path)
	}
	memory := filepath.Join(dir, filepath.Base(path)+".json")
	var k cacheEntry
	if b, err := os.ReadFile(memory); err == nil && json.Unmarshal(b, &k) == nil && k.Path == path && k.File == file && len(k.Code.SHA256) == 64 {
		return k.Code, nil
	}
	old := now().Sub(changed) > filesys.Settled
	c, err := Inspect(path)
	if err != nil || !old {
		return c, err
	}
	if again, _ := identity(path); again == file {
		_ = writeEntry(memory, cacheEntry{path, file, c}) // an error only makes the next start slower
	}
	return c, nil
}

// identity is filesys.StateOf for a path.
func identity(path string) (state string, changed time.Time) {
	f, err := os.Open(path)
	if err != nil {
		return "", changed
	}
	defer f.Close()
	return filesys.StateOf(f)
}

// writeEntry writes k to a file atomically.
func writeEntry(path string, k cacheEntry) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("cache of programs: %w", err)
	}
	return nil
}
