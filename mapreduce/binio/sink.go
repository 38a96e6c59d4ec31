package binio

import (
	"context"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
)

// Sink writes records of type T back to back. It is a mapreduce.Sink[T].
type Sink[T any] struct {
	name   string
	out    files.Output
	append func(dst []byte, v *T) ([]byte, error)
}

// Write writes the bytes of the records to dir/part-00000.bin and so on, one file per task, and dir/manifest.json last. The
// directory must be new, empty, or the output of an earlier run, which is replaced.
func Write(dir string) Sink[string] {
	return Sink[string]{fmt.Sprintf("binio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "bin"}, appendRaw}
}

// WriteFile writes the bytes of the records to a single file, in task order. A path that ends in .gz or .zst is compressed.
// An earlier file is replaced when the job is done.
func WriteFile(path string) Sink[string] {
	return Sink[string]{fmt.Sprintf("binio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}, appendRaw}
}

// WriteAs is Write for records of any type: encode appends the bytes of v to dst and returns it.
func WriteAs[T any](dir string, encode func(dst []byte, v T) []byte) Sink[T] {
	return Sink[T]{fmt.Sprintf("binio.WriteAs(%q)", dir), &files.Dir{Path: dir, Ext: "bin"}, encoded(encode)}
}

// WriteFileAs is WriteFile for records of any type; see WriteAs.
func WriteFileAs[T any](path string, encode func(dst []byte, v T) []byte) Sink[T] {
	return Sink[T]{fmt.Sprintf("binio.WriteFileAs(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}, encoded(encode)}
}

func appendRaw(dst []byte, v *string) ([]byte, error) { return append(dst, *v...), nil }

func encoded[T any](encode func(dst []byte, v T) []byte) func([]byte, *T) ([]byte, error) {
	return func(dst []byte, v *T) ([]byte, error) { return encode(dst, *v), nil }
}

// Gzip returns a sink whose files are compressed with gzip.
func (s Sink[T]) Gzip() Sink[T] { return Sink[T]{s.name + ".Gzip()", s.out.With(files.Gzip), s.append} }

// Zstd returns a sink whose files are compressed with zstd, which is faster than gzip and packs tighter.
func (s Sink[T]) Zstd() Sink[T] { return Sink[T]{s.name + ".Zstd()", s.out.With(files.Zstd), s.append} }

// String returns binio.Write("out").
func (s Sink[T]) String() string { return s.name }

// Place returns the path that the sink writes to, as it was given.
func (s Sink[T]) Place() string { return s.out.String() }

// Check makes the directory, and refuses one that holds other files.
func (s Sink[T]) Check(ctx context.Context) error { return s.out.Check(ctx) }

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t mapreduce.SinkTask) (mapreduce.SinkWriter[T], error) {
	return files.NewAppender(ctx, s.out, files.Task(t), nil, s.append)
}

// Finish moves the files of the committed attempts into place.
func (s Sink[T]) Finish(ctx context.Context, job string, parts [][]byte) error {
	return s.out.Finish(ctx, job, parts)
}

// Published reports whether what the job wrote, which ended at a time, is in place still.
func (s Sink[T]) Published(ctx context.Context, job string, ended time.Time) (bool, error) {
	return s.out.Published(ctx, job, ended)
}

// Abandon removes the temporary files of the job.
func (s Sink[T]) Abandon(ctx context.Context, job string) error { return s.out.Abandon(ctx, job) }
