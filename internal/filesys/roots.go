package filesys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Roots are the directories that file:// paths may reach in programs that a worker runs. No link
// leads out of them. Without a directory, no path may be used.
type Roots struct {
	roots []*os.Root
}

// OpenRoots opens directories. It returns an error if one cannot be opened.
func OpenRoots(dirs []string) (*Roots, error) {
	r := &Roots{}
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err == nil {
			var root *os.Root
			if root, err = os.OpenRoot(abs); err == nil {
				r.roots = append(r.roots, root)
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("file root %s: %w; name a directory that is there and can be read", dir, Cause(err)), r.Close())
		}
	}
	return r, nil
}

// Dirs returns the absolute paths of the directories.
func (r *Roots) Dirs() (dirs []string) {
	for _, root := range r.roots {
		dirs = append(dirs, root.Name())
	}
	return dirs
}

// Close closes the directories.
func (r *Roots) Close() error {
	var err error
	for _, root := range r.roots {
		err = errors.Join(err, root.Close())
	}
	return err
}

// find returns the root with a file, the most specific one, and the name of the file in it. p is
// the path for errors.
func (r *Roots) find(p, name string) (root *os.Root, rel string, err error) {
	for _, one := range r.roots {
		in, err := filepath.Rel(one.Name(), filepath.Clean(name))
		if err == nil && filepath.IsLocal(in) && (root == nil || len(in) < len(rel)) {
			root, rel = one, in
		}
	}
	switch {
	case root != nil:
		return root, rel, nil
	case len(r.roots) == 0:
		err = fmt.Errorf("this worker reads and writes no file:// paths: %w", fs.ErrPermission)
	default:
		err = fmt.Errorf("outside the directories %s of this worker: %w", strings.Join(r.Dirs(), ", "), fs.ErrPermission)
	}
	return nil, "", &Error{p, err, "start the workers with -file-root DIR, a directory above the file that all machines share"}
}
