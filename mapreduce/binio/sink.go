package binio

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink has the methods that do not depend on the records.
type sink = files.Sink

// Sink writes records of type T without anything between them. It is a connector.Sink[T], made by
// Write and its variants. Its methods return changed copies.
type Sink[T any] struct {
	sink
	append func(dst []byte, v *T) ([]byte, error)
}

var (
	_ connector.Sink[string]  = Sink[string]{}
	_ connector.PlacedSink    = Sink[string]{}
	_ connector.PublishedSink = Sink[string]{}
)

// Write returns a sink for dir/part-00000.bin, dir/part-00001.bin and so on: one file per task,
// with the bytes of the records. The job writes dir/manifest.json last, to mark the output as
// complete.
//
// The directory must be new, empty, or contain the output of an earlier job, which is replaced. The
// sink does not check the size of records.
func Write(dir string) Sink[string] {
	return Sink[string]{files.NewSink(fmt.Sprintf("binio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "bin"}), appendRaw}
}

// WriteFile returns a sink for a single file with the bytes of the records, in task order. A suffix
// .gz or .zst in the path compresses the file. An existing file is replaced when the job is done.
func WriteFile(path string) Sink[string] {
	return Sink[string]{files.NewSink(fmt.Sprintf("binio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}), appendRaw}
}

// WriteAs is Write for records of any type. encode appends the bytes of v to dst and returns the
// result.
func WriteAs[T any](dir string, encode func(dst []byte, v T) []byte) Sink[T] {
	return Sink[T]{files.NewSink(fmt.Sprintf("binio.WriteAs(%q)", dir), &files.Dir{Path: dir, Ext: "bin"}), encoded(encode)}
}

// WriteFileAs is WriteFile for records of any type; see WriteAs.
func WriteFileAs[T any](path string, encode func(dst []byte, v T) []byte) Sink[T] {
	return Sink[T]{files.NewSink(fmt.Sprintf("binio.WriteFileAs(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}), encoded(encode)}
}

func appendRaw(dst []byte, v *string) ([]byte, error) { return append(dst, *v...), nil }

func encoded[T any](encode func(dst []byte, v T) []byte) func([]byte, *T) ([]byte, error) {
	return func(dst []byte, v *T) ([]byte, error) { return encode(dst, *v), nil }
}

// Gzip compresses the files with gzip.
func (s Sink[T]) Gzip() Sink[T] {
	return Sink[T]{files.CompressSink(s.sink, "Gzip", files.Gzip), s.append}
}

// Zstd compresses the files with zstd, which is faster than gzip and makes smaller files.
func (s Sink[T]) Zstd() Sink[T] {
	return Sink[T]{files.CompressSink(s.sink, "Zstd", files.Zstd), s.append}
}

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.sink = files.SizeSink(s.sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.bin. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.sink = files.FolderSink(s.sink, name, value)
	return s
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	return files.OpenSink(ctx, s.sink, files.Task(t), nil, s.append)
}
