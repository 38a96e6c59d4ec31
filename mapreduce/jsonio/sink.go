package jsonio

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink has the methods that do not depend on the records.
type sink = files.Sink

// Sink writes one record per line. It is a connector.Sink[T], made by Write or WriteFile. Its
// methods return changed copies.
type Sink[T any] struct{ sink }

var (
	_ connector.Sink[string]  = Sink[string]{}
	_ connector.PlacedSink    = Sink[string]{}
	_ connector.PublishedSink = Sink[string]{}
)

// Write returns a sink for dir/part-00000.jsonl, dir/part-00001.jsonl and so on: one file per task.
// The job writes dir/manifest.json last, to mark the output as complete. The directory must be new,
// empty, or contain the output of an earlier job, which is replaced.
//
// The text is the output of encoding/json without escapes for HTML. A string becomes a JSON string.
// A json.RawMessage is written without its blanks. A float that is NaN or infinite is an error with
// the name of the field.
func Write[T any](dir string) Sink[T] {
	return Sink[T]{files.NewSink(fmt.Sprintf("jsonio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "jsonl"})}
}

// WriteFile returns a sink for a single file, with the records in task order. A suffix .gz or .zst
// in the path compresses the file. An existing file is replaced when the job is done.
func WriteFile[T any](path string) Sink[T] {
	return Sink[T]{files.NewSink(fmt.Sprintf("jsonio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)})}
}

// Gzip compresses the files with gzip.
func (s Sink[T]) Gzip() Sink[T] { return Sink[T]{files.CompressSink(s.sink, "Gzip", files.Gzip)} }

// Zstd compresses the files with zstd, which is faster than gzip and makes smaller files.
func (s Sink[T]) Zstd() Sink[T] { return Sink[T]{files.CompressSink(s.sink, "Zstd", files.Zstd)} }

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.sink = files.SizeSink(s.sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.jsonl. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.sink = files.FolderSink(s.sink, name, value)
	return s
}

// Check creates the directory. It returns an error if the directory contains other files. A T that
// cannot be written is an error with the name of the field.
func (s Sink[T]) Check(ctx context.Context) error {
	if _, err := s.encoder(); err != nil {
		return err
	}
	return s.sink.Check(ctx)
}

func (s Sink[T]) encoder() (*jsoncodec.Encoder, error) {
	enc, err := jsoncodec.NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%s: records of %s: %w", s, reflect.TypeFor[T](), err)
	}
	return enc, nil
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	enc, err := s.encoder()
	if err != nil {
		return nil, err
	}
	return files.OpenSink(ctx, s.sink, files.Task(t), nil, func(dst []byte, rec *T) ([]byte, error) {
		dst, err := enc.Append(dst, unsafe.Pointer(rec))
		if err != nil {
			return dst, fmt.Errorf("%s: %w", s, err)
		}
		return append(dst, '\n'), nil
	})
}
