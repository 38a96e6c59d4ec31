package datadir

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/state"
)

// Files stores small files for the servers of a coordinator, by name. A name may have one slash. It
// is in the data directory of a single coordinator, or in the state of several.
type Files interface {
	// Read returns the content of a file. The error wraps fs.ErrNotExist or state.ErrDamaged.
	Read(name string) ([]byte, error)
	// Write replaces the content of a file, and returns when it is durable.
	Write(name string, content []byte) error
	// Remove removes a file.
	Remove(name string) error
	// List returns the names that begin with prefix.
	List(prefix string) ([]string, error)
}

// dirFiles are Files in a directory. Files without a slash in their names have a checksum and a
// copy; see state.WriteFile.
type dirFiles struct{ dir string }

// FilesIn returns the files in the directory dir.
func FilesIn(dir string) Files { return dirFiles{dir} }

func (d dirFiles) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d dirFiles) Read(name string) ([]byte, error) {
	if strings.Contains(name, "/") {
		return os.ReadFile(d.path(name))
	}
	return state.ReadFile(d.path(name))
}

func (d dirFiles) Write(name string, content []byte) error {
	if !strings.Contains(name, "/") {
		return state.WriteFile(d.path(name), content)
	}
	if err := state.MakeDir(filepath.Dir(d.path(name)), 0o700); err != nil {
		return err
	}
	return state.Replace(d.path(name), content, 0o600)
}

func (d dirFiles) Remove(name string) error { return os.Remove(d.path(name)) }

func (d dirFiles) List(prefix string) (names []string, err error) {
	folder, _, _ := strings.Cut(prefix, "/")
	entries, err := os.ReadDir(d.path(folder))
	if os.IsNotExist(err) {
		return nil, nil
	}
	for _, e := range entries {
		if name := folder + "/" + e.Name(); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, err
}
