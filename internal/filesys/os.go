package filesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/layshaft/layshaft/internal/dirs"
)

// OS is the file system of this machine: paths without a scheme, and file:///PATH.
type OS struct {
	// As is another prefix of paths, SCHEME://PLACE, for the files of this machine; empty when
	// there is none.
	As string
	// Roots, if set, limits the file system to some directories.
	Roots *Roots
}

// tree has the operations on files that os.Root and osTree share.
type tree interface {
	Stat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
	Create(name string) (*os.File, error)
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	MkdirAll(name string, mode fs.FileMode) error
}

// osTree is the tree of all files of this machine.
type osTree struct{}

func (osTree) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osTree) Open(name string) (*os.File, error)           { return os.Open(name) }
func (osTree) Create(name string) (*os.File, error)         { return os.Create(name) }
func (osTree) Rename(from, to string) error                 { return os.Rename(from, to) }
func (osTree) Remove(name string) error                     { return os.Remove(name) }
func (osTree) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osTree) MkdirAll(name string, mode fs.FileMode) error { return dirs.MkdirAll(name, mode) }

// at returns the tree with a path, and the path's name there.
func (o OS) at(p string) (tree, string, error) {
	name, err := o.name(p)
	if err != nil || o.Roots == nil {
		return osTree{}, name, err
	}
	root, rel, err := o.Roots.find(p, name)
	if err != nil {
		return nil, "", err
	}
	return root, rel, nil
}

// name returns the path for the operating system.
func (o OS) name(p string) (string, error) {
	if Scheme(p) == "" {
		return p, nil
	}
	root, rest := splitRoot(p)
	if root != o.As && (Scheme(p) != "file" || !strings.HasSuffix(root, "//")) || rest == "" {
		return "", &Error{p, fs.ErrInvalid, "write file:///PATH with three slashes"}
	}
	return filepath.FromSlash(rest), nil
}

// explain adds the path and advice to an error of the operating system.
func explain(p string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Path: p, Err: Cause(err)}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Help = "check the path, and that this machine has the file"
		if wd, err := os.Getwd(); err == nil && !filepath.IsAbs(p) && Scheme(p) == "" {
			e.Help = "the path counts from " + wd
		}
	case errors.Is(err, fs.ErrPermission):
		e.Help = "run as a user who may read and write it, or change its mode"
	case strings.Contains(err.Error(), "escapes"): // os.Root exports no such error
		e.Help = "a link must not lead out of the directories of -file-root, and must be relative"
	case errors.Is(err, doublestar.ErrBadPattern):
		e.Help = "globs are written with * ? [a-z] {a,b} and **"
	}
	return e
}

// Glob lists files.
func (o OS) Glob(ctx context.Context, pattern string) ([]Info, error) {
	name, err := o.name(pattern)
	if err != nil {
		return nil, err
	}
	t, inTree, err := o.at(pattern)
	if err != nil {
		return nil, err
	}
	base, wild := name, "."
	fi, err := t.Stat(inTree)
	switch {
	case err == nil && !fi.IsDir():
		info := infoOf(pattern, fi)
		info.Path = Clean(pattern)
		return []Info{info}, nil
	case err != nil && !HasMeta(name):
		return nil, explain(pattern, err)
	case err != nil:
		base, wild = doublestar.SplitPattern(path.Clean(filepath.ToSlash(name)))
	}
	files := os.DirFS(base)
	if root, ok := t.(*os.Root); ok {
		files, base, wild = root.FS(), root.Name(), filepath.ToSlash(inTree)
	}
	found, err := Find(ctx, files, wild)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return nil, explain(o.join(pattern, base, pe.Path), err)
		}
		return nil, explain(pattern, err)
	}
	for i := range found {
		found[i].Path = o.join(pattern, base, found[i].Path)
	}
	return found, nil
}

// join returns dir/name with the scheme of like.
func (OS) join(like, dir, name string) string {
	p := filepath.Join(dir, filepath.FromSlash(name))
	if Scheme(like) == "" {
		return p
	}
	root, _ := splitRoot(like)
	return root + filepath.ToSlash(p)
}

// Stat returns a description of path.
func (o OS) Stat(_ context.Context, path string) (Info, error) {
	t, name, err := o.at(path)
	if err != nil {
		return Info{}, err
	}
	fi, err := t.Stat(name)
	if err != nil {
		return Info{}, explain(path, err)
	}
	info := infoOf(path, fi)
	return info, nil
}

// ReadDir lists a directory. It follows links.
func (o OS) ReadDir(_ context.Context, dir string) ([]Info, error) {
	t, name, err := o.at(dir)
	if err != nil {
		return nil, err
	}
	f, err := t.Open(name)
	if err != nil {
		return nil, explain(dir, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, explain(dir, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		fi, err := t.Stat(filepath.Join(name, e.Name()))
		if err != nil {
			if fi, err = e.Info(); err != nil {
				continue // removed in between
			}
		}
		out = append(out, infoOf(Join(dir, e.Name()), fi))
	}
	return out, nil
}

// Open opens a file for reading.
func (o OS) Open(_ context.Context, path string) (File, error) {
	t, name, err := o.at(path)
	if err != nil {
		return nil, err
	}
	f, err := t.Open(name)
	if err != nil {
		return nil, explain(path, err)
	}
	return &osFile{f, path, nil}, nil
}

// Create creates a file.
func (o OS) Create(_ context.Context, path string) (Writer, error) {
	t, name, err := o.at(path)
	if err != nil {
		return nil, err
	}
	f, err := t.Create(name)
	if err != nil {
		return nil, explain(path, err)
	}
	return &osWriter{File: f, path: path}, nil
}

// Rename renames a file.
func (o OS) Rename(_ context.Context, from, to string) error {
	t, a, err := o.at(from)
	if err != nil {
		return err
	}
	other, b, err := o.at(to)
	if err != nil {
		return err
	}
	if other != t {
		err = fs.ErrInvalid
	} else {
		err = t.Rename(a, b)
	}
	if err != nil {
		return explain(from, fmt.Errorf("cannot be renamed to %s: %w", to, Cause(err)))
	}
	return nil
}

// Remove deletes a file or an empty directory.
func (o OS) Remove(_ context.Context, path string) error {
	t, name, err := o.at(path)
	if err != nil {
		return err
	}
	if err := t.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(path, err)
	}
	return nil
}

// RemoveAll deletes path and everything below it.
func (o OS) RemoveAll(_ context.Context, path string) error {
	t, name, err := o.at(path)
	if err != nil {
		return err
	}
	return explain(path, t.RemoveAll(name))
}

// MkdirAll makes a directory and its parents.
func (o OS) MkdirAll(_ context.Context, path string) error {
	t, name, err := o.at(path)
	if err != nil {
		return err
	}
	return explain(path, t.MkdirAll(name, 0o777))
}

// Sync writes the names in a directory to disk.
func (o OS) Sync(_ context.Context, dir string) error {
	t, name, err := o.at(dir)
	if err != nil {
		return err
	}
	f, err := t.Open(name)
	if err != nil {
		return explain(dir, err)
	}
	defer f.Close()
	return explain(dir, f.Sync())
}

// osFile is a regular file of this machine.
type osFile struct {
	*os.File
	path  string
	hosts []string
}

// IsLocal reports whether f is a local file, so that small reads are cheap: each is one system
// call.
func IsLocal(f File) bool {
	_, ok := f.(*osFile)
	return ok
}

// FromOS returns a regular file of this machine as a File with the given path and hosts.
func FromOS(f *os.File, path string, hosts []string) File { return &osFile{f, path, hosts} }

// Stream reads the file itself. So the kernel detects sequential reads, and io.Copy can let the
// kernel copy.
func (f *osFile) Stream(from, n int64) io.Reader {
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return errorReader{explain(f.path, err)}
	}
	return io.LimitReader(f.File, n)
}

type errorReader struct{ err error }

func (f errorReader) Read([]byte) (int, error) { return 0, f.err }

func (f *osFile) Stat() (Info, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return Info{}, explain(f.path, err)
	}
	info := infoOf(f.path, fi)
	info.Hosts = f.hosts
	return info, nil
}

// osWriter makes the kernel write to disk early, so that the sync at the end is short.
type osWriter struct {
	*os.File
	path               string
	written, submitted int64
}

// writeBack is the number of bytes between two requests to write to disk.
const writeBack = 8 << 20

// CreatedOS returns f, a new file, as a Writer with the given path.
func CreatedOS(f *os.File, path string) Writer { return &osWriter{File: f, path: path} }

func (w *osWriter) Path() string { return w.path }

func (w *osWriter) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if w.written += int64(n); w.written-w.submitted >= writeBack {
		startWriteBack(w.File, w.submitted, w.written-w.submitted)
		w.submitted = w.written
	}
	return n, explain(w.path, err)
}

func (w *osWriter) Sync() error  { return explain(w.path, w.File.Sync()) }
func (w *osWriter) Close() error { return explain(w.path, w.File.Close()) }

func (w *osWriter) Abort() {
	w.File.Close()
	os.Remove(w.File.Name())
}
