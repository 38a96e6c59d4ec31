package jsonio

import (
	"context"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
	"github.com/layshaft/layshaft/mapreduce/jsonio/internal/codec"
)

// Sink writes one record per line. It is a mapreduce.Sink[T].
type Sink[T any] struct {
	name string
	out  files.Output
}

// Write writes records to dir/part-00000.jsonl and so on, one file per task, and dir/manifest.json last. The directory must be new,
// empty, or the output of an earlier run, which is replaced. The text is that of encoding/json without escapes for HTML: a
// string becomes a JSON string, and a json.RawMessage is written as it is, but without blanks. A float that is NaN or
// infinite is an error that names the field.
func Write[T any](dir string) Sink[T] {
	return Sink[T]{fmt.Sprintf("jsonio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "jsonl"}}
}

// WriteFile writes records to a single file, in task order. A path that ends in .gz or .zst is compressed. An earlier file is
// replaced when the job is done.
func WriteFile[T any](path string) Sink[T] {
	return Sink[T]{fmt.Sprintf("jsonio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}}
}

// Gzip returns a sink whose files are compressed with gzip.
func (s Sink[T]) Gzip() Sink[T] { return Sink[T]{s.name + ".Gzip()", s.out.With(files.Gzip)} }

// Zstd returns a sink whose files are compressed with zstd, which is faster than gzip and packs tighter.
func (s Sink[T]) Zstd() Sink[T] { return Sink[T]{s.name + ".Zstd()", s.out.With(files.Zstd)} }

// String returns jsonio.Write("out").
func (s Sink[T]) String() string { return s.name }

// Place returns the path that the sink writes to, as it was given.
func (s Sink[T]) Place() string { return s.out.String() }

// Check refuses a T that cannot be written, naming the field. It makes the directory, and refuses one that holds other files.
func (s Sink[T]) Check(ctx context.Context) error {
	if _, err := s.encoder(); err != nil {
		return err
	}
	return s.out.Check(ctx)
}

func (s Sink[T]) encoder() (*codec.Encoder, error) {
	enc, err := codec.NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%s: records of %s: %w", s, reflect.TypeFor[T](), err)
	}
	return enc, nil
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t mapreduce.SinkTask) (mapreduce.SinkWriter[T], error) {
	enc, err := s.encoder()
	if err != nil {
		return nil, err
	}
	return files.NewAppender(ctx, s.out, files.Task(t), nil, func(dst []byte, rec *T) ([]byte, error) {
		dst, err := enc.Append(dst, unsafe.Pointer(rec))
		if err != nil {
			return dst, fmt.Errorf("%s: %w", s, err)
		}
		return append(dst, '\n'), nil
	})
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
