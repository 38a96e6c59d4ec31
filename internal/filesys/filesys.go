// Package filesys defines the file systems that sources and sinks of jobs use, and finds the file
// system of a path.
//
// A path may have a scheme, as in s3://bucket/a.txt. A Set has one FS for each scheme and travels
// in the context. So the same source reads local files in one process and files of another machine
// in the next:
//
//	/data/a.txt, file:///data/a.txt    OS in this package: the local machine
//	dataset://catalog/a.txt            package remote: a directory on workers
//	client://ID/data/a.txt             package remote: the machine that submitted a job
//	s3://bucket/a.txt                  package s3: an object store
//
// Every FS keeps one contract; package conform tests it. Names are compared byte by byte, and
// slashes separate them. Every error is an *Error with the full path and a way out. errors.Is finds
// fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, ErrGone and ErrAway in it.
package filesys

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// ErrGone means the machine or service with a file could not be reached within the patience of the
// file system.
var ErrGone = errors.New("cannot be reached")

// ErrChanged means a file is not the one that a job was planned with: it was changed, replaced or
// removed. Another attempt would find the same.
var ErrChanged = errors.New("changed while the job ran")

// ErrAway means an answer would be incomplete: some workers answered, but a worker that may have
// some of the files is away.
var ErrAway = errors.New("away")

// Info describes a file or directory.
type Info struct {
	Path    string      // full path, with its scheme
	Size    int64       // bytes; undefined for directories
	ModTime time.Time   // time of the last change
	Mode    fs.FileMode // the type; permissions if they are known
	// ID is equal for all names of one file of this machine; empty if it is unknown.
	ID string
	// Changed is when the inode of a file of this machine changed, which nobody can set; zero if it
	// is unknown.
	Changed time.Time
	// Version is a text that differs for any two contents, where the file system knows one: the
	// digest of copies, the ETag of an object, or the change of the inode on a worker.
	Version string
	// LeftOut is why a file that matches a glob is not part of the input; empty for input.
	LeftOut LeftOut
	// Hosts are the workers that hold the file, sorted; empty means it is equally near to all.
	Hosts []string
	// Difference describes the difference to an outdated copy; empty when there is none.
	Difference string
}

// LeftOut is a reason to leave a file out of the input.
type LeftOut string

// The reasons.
const (
	LeftHidden LeftOut = "hidden" // a name on its path starts with a dot or an underscore
	LeftLink   LeftOut = "link"   // a link that leads nowhere, in a circle, or out of the tree
	LeftTwice  LeftOut = "twice"  // another name of a file that is input
	LeftOwn    LeftOut = "own"    // it lies where the job writes
	LeftCopy   LeftOut = "copy"   // it lists what COPY of a report wrote, and is no data
	LeftEmpty  LeftOut = "empty"  // it has no byte, or none when decompressed
)

// FS is a file system. Its methods are safe for concurrent use. They block until they are done or
// ctx ends. Remote operations are retried for a limited time.
type FS interface {
	// Glob lists files in order of path: files that match pattern, and all regular files below
	// directories that match it. A pattern may contain * ? [a-z] {a,b}, and ** for any number of
	// directories. Links are followed. If nothing matches, the list is empty; but for a pattern
	// without these signs the error is fs.ErrNotExist.
	//
	// The list contains the files that input leaves out, with LeftOut: further names of one file,
	// links that lead nowhere, and names that start with a dot or an underscore. Such a name is
	// input if its element of the pattern starts with the same sign.
	Glob(ctx context.Context, pattern string) ([]Info, error)
	// Stat returns a description of path.
	Stat(ctx context.Context, path string) (Info, error)
	// ReadDir lists all entries of a directory, in order of path.
	ReadDir(ctx context.Context, path string) ([]Info, error)
	// Open opens a file for reading. ctx applies to all reads.
	Open(ctx context.Context, path string) (File, error)
	// Create creates a file or truncates it. Its directory must exist. ctx applies to all writes.
	Create(ctx context.Context, path string) (Writer, error)
	// Rename renames a file and replaces the target. Both names must be on the same file system and
	// host.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes a file or an empty directory. A missing one is no error.
	Remove(ctx context.Context, path string) error
	// RemoveAll deletes path and everything below it. A missing path is no error.
	RemoveAll(ctx context.Context, path string) error
	// MkdirAll makes a directory and its parents.
	MkdirAll(ctx context.Context, path string) error
	// Sync returns when the names in a directory are on disk.
	Sync(ctx context.Context, dir string) error
}

// File is an open file. ReadAt is safe for concurrent use; only one stream may be used at a time.
type File interface {
	io.ReaderAt
	// Stream reads n bytes from offset from on, and reads ahead where that is faster. It ends at
	// the end of the file.
	Stream(from, n int64) io.Reader
	// Stat returns a description of the file as it is now.
	Stat() (Info, error)
	// Close closes the file and its streams.
	Close() error
}

// Writer writes a file. Only one goroutine may use it.
type Writer interface {
	io.Writer
	// Path returns the path of the file. It includes the host if the file system has several.
	Path() string
	// Sync returns when all written data is on disk.
	Sync() error
	// Close completes the file. Without it the file may have any content, or not exist.
	Close() error
	// Abort removes the file. It is called instead of Close, or after Close or Sync failed.
	Abort()
}

// A Spread is an FS with directories that lie on several hosts.
type Spread interface {
	// Spread returns the hosts that may have files below path, sorted.
	Spread(ctx context.Context, path string) ([]string, error)
}

// A Copied is an FS with several copies of one file.
type Copied interface {
	// CheckCopies returns an error if the copies of a file differ. It removes hosts that cannot be
	// reached from infos.
	CheckCopies(ctx context.Context, infos []Info) error
}

// A Headed is an FS that reads the beginnings of many files faster together than one by one.
type Headed interface {
	// Heads reads at most head bytes from the beginning and tail bytes from the end of each file. A
	// file that must be opened alone has the zero Head.
	Heads(ctx context.Context, infos []Info, head, tail int) ([]Head, error)
	// OpenSmall opens files of at most MaxSmall bytes, with their content in memory. A file that
	// must be opened alone is nil. Only Path and Hosts of infos are used.
	OpenSmall(ctx context.Context, infos []Info) ([]File, error)
}

// MaxSmall is the limit of a small file for Headed, in bytes.
const MaxSmall = 4 << 10

// Head is the beginning and the end of a file, and its Version; see Info.
type Head struct {
	First, Last []byte
	Version     string
}

// A Hinted is an FS that finds a file faster if its hosts are known.
type Hinted interface {
	// OpenAt opens the file on one of hosts, whose copies are known to be equal. Another host may
	// have another content under this path. Its copy is opened only if isSame reports true for its
	// Version; see Info. If isSame is nil, no other copy is opened. A host that cannot be reached
	// may come back, so the error wraps ErrGone.
	OpenAt(ctx context.Context, path string, hosts []string, isSame func(version string) bool) (File, error)
}

// Open opens a file by its scheme. hosts and isSame are as in Hinted. Without hosts, any copy is
// opened.
func Open(ctx context.Context, path string, hosts []string, isSame func(version string) bool) (File, error) {
	f, err := Of(ctx, path)
	if err != nil {
		return nil, err
	}
	if h, ok := f.(Hinted); ok && len(hosts) > 0 {
		return h.OpenAt(ctx, path, hosts, isSame)
	}
	return f.Open(ctx, path)
}

// A Lender is an FS with files that other processes know by other paths, and can reach only after
// Lend.
type Lender interface {
	// Lend lets other processes read a file, and returns its path for them.
	Lend(path string) (string, error)
	// LendDir lets other processes write below dir, under names that start with prefix.
	LendDir(dir, prefix string) error
}

// Error is the error of the methods of every FS.
type Error struct {
	Path string // with its scheme
	Err  error  // what went wrong
	Help string // advice to the user; may be empty
}

func (e *Error) Error() string {
	text := DisplayText(e.Path) + ": " + e.Err.Error()
	if e.Help != "" {
		text += "; " + e.Help
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Set has an FS for each scheme, and "" for paths without one.
type Set map[string]FS

type key struct{}

// WithSet returns a context with set. Schemes missing in set are taken from the set in ctx.
func WithSet(ctx context.Context, set Set) context.Context {
	all := Set{}
	for scheme, f := range From(ctx) {
		all[scheme] = f
	}
	for scheme, f := range set {
		all[scheme] = f
	}
	return context.WithValue(ctx, key{}, all)
}

type ignoreHolders struct{}

// IgnoreHolders returns a context in which splits do not depend on the holders of the input. It
// serves to compare inputs.
func IgnoreHolders(ctx context.Context) context.Context {
	return context.WithValue(ctx, ignoreHolders{}, true)
}

// IgnoresHolders reports whether ctx comes from IgnoreHolders.
func IgnoresHolders(ctx context.Context) bool { return ctx.Value(ignoreHolders{}) != nil }

// registered has the file systems added by Register.
var registered = Set{}

// Register makes f the file system of a scheme for contexts without another one. Call it only from
// an init function.
func Register(scheme string, f FS) { registered[scheme] = f }

// From returns the set in ctx. Without a set, paths without a scheme and file:// belong to the
// operating system, and other schemes to the file systems added by Register.
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
	switch scheme {
	case "dataset":
		help = "run it on a cluster that has the dataset: -cluster HOST:PORT"
	case "s3":
		help = `the program must import _ "github.com/layshaft/layshaft/mapreduce/s3io" for object stores`
	}
	return nil, &Error{path, noFileSystem(scheme), help}
}

// noFileSystem is the error for a scheme. It is fs.ErrInvalid.
type noFileSystem string

func (s noFileSystem) Error() string { return "no file system for " + string(s) + ":// here" }

func (s noFileSystem) Is(target error) bool { return target == fs.ErrInvalid }

// Lend returns the path of a file for all processes of a job: absolute, or the path under which its
// FS lends it.
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

// LendDir lets all processes of a job write below dir under names that start with prefix, if they
// cannot already.
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

// Cause returns err without its path, for messages that contain the path themselves.
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
