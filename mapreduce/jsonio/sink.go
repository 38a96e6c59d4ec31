package jsonio

import (
	"context"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce"
)

// Sink writes one record per line. It is a mapreduce.Sink[T], made by Write or WriteFile. Its
// methods return changed copies.
type Sink[T any] struct {
	name string
	out  files.Output
}

var (
	_ mapreduce.Sink[string]  = Sink[string]{}
	_ mapreduce.PlacedSink    = Sink[string]{}
	_ mapreduce.PublishedSink = Sink[string]{}
)

// Write returns a sink for dir/part-00000.jsonl, dir/part-00001.jsonl and so on: one file per task.
// The job writes dir/manifest.json last, to mark the output as complete. The directory must be new,
// empty, or contain the output of an earlier job, which is replaced.
//
// The text is the output of encoding/json without escapes for HTML. A string becomes a JSON string.
// A json.RawMessage is written without its blanks. A float that is NaN or infinite is an error with
// the name of the field.
func Write[T any](dir string) Sink[T] {
	return Sink[T]{fmt.Sprintf("jsonio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "jsonl"}}
}

// WriteFile returns a sink for a single file, with the records in task order. A suffix .gz or .zst
// in the path compresses the file. An existing file is replaced when the job is done.
func WriteFile[T any](path string) Sink[T] {
	return Sink[T]{fmt.Sprintf("jsonio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}}
}

// Gzip compresses the files with gzip.
func (s Sink[T]) Gzip() Sink[T] { return Sink[T]{s.name + ".Gzip()", s.out.WithCodec(files.Gzip)} }

// Zstd compresses the files with zstd, which is faster than gzip and makes smaller files.
func (s Sink[T]) Zstd() Sink[T] { return Sink[T]{s.name + ".Zstd()", s.out.WithCodec(files.Zstd)} }

// String returns the sink and its options, such as jsonio.Write("out").
func (s Sink[T]) String() string { return s.name }

// Place returns the path of the output as given to the constructor.
func (s Sink[T]) Place() string { return s.out.String() }

// Check creates the directory. It returns an error if the directory contains other files. A T that
// cannot be written is an error with the name of the field.
func (s Sink[T]) Check(ctx context.Context) error {
	if _, err := s.encoder(); err != nil {
		return err
	}
	return s.out.Check(ctx)
}

func (s Sink[T]) encoder() (*jsoncodec.Encoder, error) {
	enc, err := jsoncodec.NewEncoder(reflect.TypeFor[T]())
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

// Finish moves the files of the committed attempts to their final names.
func (s Sink[T]) Finish(ctx context.Context, job string, parts [][]byte) error {
	return s.out.Finish(ctx, job, parts)
}

// Published reports whether the output of the job is still in place. ended is the time when the job
// ended.
func (s Sink[T]) Published(ctx context.Context, job string, ended time.Time) (bool, error) {
	return s.out.Published(ctx, job, ended)
}

// Abandon removes the temporary files of the job.
func (s Sink[T]) Abandon(ctx context.Context, job string) error { return s.out.Abandon(ctx, job) }
