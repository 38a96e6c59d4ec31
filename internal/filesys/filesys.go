// Package filesys says what a file system is to the sources and sinks of jobs, and which one a path belongs to.
//
// A path has a scheme, as in s3://bucket/a.txt, or none. A Set has one FS for each scheme and travels in the context, so that
// the same source reads local files in one process and files of another machine in the next. This package has the file system
// of the machine (OS); package remote has those of workers and clients, package s3 that of object stores.
//
// Every FS keeps to one contract, which package conform tests: names are compared byte by byte, slashes part them, and every error
// is an *Error, which names the path with its scheme and the way out, and of which errors.Is tells fs.ErrNotExist,
// fs.ErrPermission, fs.ErrInvalid, ErrGone and ErrAway.
package filesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// ErrGone means that the machine or service that holds a file could not be reached for as long as the file system is patient.
var ErrGone = errors.New("cannot be reached")

// ErrAway means that an answer would be cut short: others were reached, but a worker that may have some of the files is not there now.
var ErrAway = errors.New("away")

// Info says what a path is.
type Info struct {
	Path    string // in full, with its scheme
	Size    int64  // bytes; of no meaning for directories
	ModTime time.Time
	Mode    fs.FileMode // the type; permissions where they are known
	Hosts   []string    // workers that hold the file, sorted; empty means that it is equally near to all
	Differs string      // how a copy differs that does not count; empty when there is none
}

// FS is where files lie. Its methods may be called by several goroutines. They block until they are done or ctx ends. What
// is remote is tried again for a bounded time.
type FS interface {
	// Glob lists files in order of path: those that match pattern, and all regular ones below directories that match it. A
	// pattern has * ? [a-z] {a,b}, and ** for any number of directories. Names that start with a dot or an underscore are left
	// out unless the pattern spells them. When pattern has no such signs and nothing is there the error is fs.ErrNotExist;
	// when nothing matches the list is empty.
	Glob(ctx context.Context, pattern string) ([]Info, error)
	// Stat says what path is.
	Stat(ctx context.Context, path string) (Info, error)
	// ReadDir lists what is in a directory, in order of path and without exception.
	ReadDir(ctx context.Context, path string) ([]Info, error)
	// Open opens a file to read. ctx is also that of all reads.
	Open(ctx context.Context, path string) (File, error)
	// Create makes a file, or makes it anew. Its directory must be there. ctx is also that of all writes.
	Create(ctx context.Context, path string) (Writer, error)
	// Rename gives a file another name, over what is there. Both names are of the same file system, and of the same host.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes a file or an empty directory. What is not there is no error.
	Remove(ctx context.Context, path string) error
	// RemoveAll deletes path with all that is below it. What is not there is no error.
	RemoveAll(ctx context.Context, path string) error
	// MkdirAll makes a directory and those above it.
	MkdirAll(ctx context.Context, path string) error
	// Sync returns when the names in a directory are on disk.
	Sync(ctx context.Context, dir string) error
}

// File is an open file. ReadAt may be called by several goroutines; of streams one is used at a time.
type File interface {
	io.ReaderAt
	// Stream reads n bytes from offset from on, ahead of the caller where that pays. It ends where the file does.
	Stream(from, n int64) io.Reader
	// Stat says what the file is now.
	Stat() (Info, error)
	// Close ends streams too.
	Close() error
}

// Writer is a file being written. It is used by one goroutine.
type Writer interface {
	io.Writer
	// Path names the file, with the host that it is on where the file system has several.
	Path() string
	// Sync returns when what was written is on disk.
	Sync() error
	// Close ends the file. Without it, the file may have any content, or not exist.
	Close() error
	// Abort ends and removes the file. It is called instead of Close, or after Close or Sync failed.
	Abort()
}

// A Spread is an FS of which one directory may lie on several hosts.
type Spread interface {
	// Spread returns the hosts that may have files below path, sorted.
	Spread(ctx context.Context, path string) ([]string, error)
}

// A Copied is an FS of which one file may have several copies.
type Copied interface {
	// Same fails when the copies of a file differ. It takes hosts off that cannot be reached.
	Same(ctx context.Context, infos []Info) error
}

// A Hinted is an FS that finds a file sooner when it is told which hosts had it. They may be wrong.
type Hinted interface {
	OpenAt(ctx context.Context, path string, hosts []string) (File, error)
}

// Open opens a file by its scheme. hosts are those that had it, as far as known.
func Open(ctx context.Context, path string, hosts []string) (File, error) {
	f, err := Of(ctx, path)
	if err != nil {
		return nil, err
	}
	if h, ok := f.(Hinted); ok && len(hosts) > 0 {
		return h.OpenAt(ctx, path, hosts)
	}
	return f.Open(ctx, path)
}

// A Lender is an FS whose files other processes know by other paths, and reach only once they were named to it.
type Lender interface {
	// Lend lets other processes read a file, and returns its path there.
	Lend(path string) (string, error)
	// LendDir lets other processes write below dir, under names that start with prefix.
	LendDir(dir, prefix string) error
}

// Error is what the methods of every FS return.
type Error struct {
	Path string // with its scheme
	Err  error
	Help string // the way out; may be empty
}

func (e *Error) Error() string {
	text := Shown(e.Path) + ": " + e.Err.Error()
	if e.Help != "" {
		text += "; " + e.Help
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Set has an FS for each scheme, "" for paths without one.
type Set map[string]FS

type key struct{}

// With returns a context that carries set. Schemes that set lacks come from the set that ctx carried before.
func With(ctx context.Context, set Set) context.Context {
	all := Set{}
	for scheme, f := range From(ctx) {
		all[scheme] = f
	}
	for scheme, f := range set {
		all[scheme] = f
	}
	return context.WithValue(ctx, key{}, all)
}

type nowhere struct{}

// Nowhere returns a context in which splits say nothing of who holds the input and do not depend on it, for telling whether it is the same input.
func Nowhere(ctx context.Context) context.Context { return context.WithValue(ctx, nowhere{}, true) }

// IsNowhere reports whether ctx comes from Nowhere.
func IsNowhere(ctx context.Context) bool { return ctx.Value(nowhere{}) != nil }

// registered are the file systems of Register.
var registered = Set{}

// Register makes f the file system of a scheme wherever a context carries no other. Call it from an
// init function only.
func Register(scheme string, f FS) { registered[scheme] = f }

// From returns the set that ctx carries. Without one, paths without a scheme and file:// belong to the
// operating system, and other schemes to the file systems of Register.
func From(ctx context.Context) Set {
	if s, ok := ctx.Value(key{}).(Set); ok {
		return s
	}
	s := maps.Clone(registered)
	s[""], s["file"] = OS{}, OS{}
	return s
}

// Of returns the file system of path.
func Of(ctx context.Context, path string) (FS, error) {
	scheme := Scheme(path)
	if f, ok := From(ctx)[scheme]; ok {
		return f, nil
	}
	help := "use a path, file:///path, dataset://NAME/path or s3://BUCKET/path, and a cluster for datasets"
	if scheme == "s3" {
		help = `the program must import _ "github.com/layshaft/layshaft/mapreduce/s3io" for object stores`
	}
	return nil, &Error{path, fmt.Errorf("no file system for %s:// here: %w", scheme, fs.ErrInvalid), help}
}

// Lend returns the path by which all processes of a job know a file: absolute, or the one that the FS of the file lends it under.
func Lend(ctx context.Context, path string) (string, error) {
	f, err := Of(ctx, path)
	if err != nil {
		return "", err
	}
	if l, ok := f.(Lender); ok {
		return l.Lend(path)
	}
	if Scheme(path) != "" {
		return Clean(path), nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", &Error{path, err, "give an absolute path"}
	}
	return abs, nil
}

// LendDir lets all processes of a job write below dir under names that start with prefix, where that is not so already.
func LendDir(ctx context.Context, dir, prefix string) error {
	f, err := Of(ctx, dir)
	if err != nil {
		return err
	}
	if l, ok := f.(Lender); ok {
		return l.LendDir(dir, prefix)
	}
	return nil
}

// Cause returns err without the path in it, for messages that name the path themselves.
func Cause(err error) error {
	var e *Error
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &e):
		return e.Err
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}
