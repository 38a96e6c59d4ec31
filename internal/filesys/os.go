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
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// OS is the file system of this machine: paths without a scheme, and file:///PATH.
type OS struct {
	// As is another prefix of paths, SCHEME://PLACE, for the files of this machine; empty when
	// there is none.
	As string
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
	base, wild := name, "."
	fi, err := os.Stat(name)
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
	found, err := Find(ctx, os.DirFS(base), wild)
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
	name, err := o.name(path)
	if err != nil {
		return Info{}, err
	}
	fi, err := os.Stat(name)
	if err != nil {
		return Info{}, explain(path, err)
	}
	info := infoOf(path, fi)
	return info, nil
}

// ReadDir lists a directory. It follows links.
func (o OS) ReadDir(_ context.Context, dir string) ([]Info, error) {
	name, err := o.name(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, explain(dir, err)
	}
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		fi, err := os.Stat(filepath.Join(name, e.Name()))
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
	name, err := o.name(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, explain(path, err)
	}
	return &osFile{f, path, nil}, nil
}

// Create creates a file.
func (o OS) Create(_ context.Context, path string) (Writer, error) {
	name, err := o.name(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, explain(path, err)
	}
	return &osWriter{File: f, path: path}, nil
}

// Rename renames a file.
func (o OS) Rename(_ context.Context, from, to string) error {
	a, err := o.name(from)
	if err != nil {
		return err
	}
	b, err := o.name(to)
	if err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return explain(from, fmt.Errorf("cannot be renamed to %s: %w", to, Cause(err)))
	}
	return nil
}

// Remove deletes a file or an empty directory.
func (o OS) Remove(_ context.Context, path string) error {
	name, err := o.name(path)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(path, err)
	}
	return nil
}

// RemoveAll deletes path and everything below it.
func (o OS) RemoveAll(_ context.Context, path string) error {
	name, err := o.name(path)
	if err != nil {
		return err
	}
	return explain(path, os.RemoveAll(name))
}

// MkdirAll makes a directory and its parents.
func (o OS) MkdirAll(_ context.Context, path string) error {
	name, err := o.name(path)
	if err != nil {
		return err
	}
	return explain(path, os.MkdirAll(name, 0o777))
}

// Sync writes the names in a directory to disk.
func (o OS) Sync(_ context.Context, dir string) error {
	name, err := o.name(dir)
	if err != nil {
		return err
	}
	f, err := os.Open(name)
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
