package parquetio

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/snappy"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink has the methods that do not depend on the records.
type sink = files.Sink

// Sink writes rows to Parquet files. It is a connector.Sink[T], made by Write and
// WriteFile. Its methods return changed copies.
type Sink[T any] struct {
	sink
	codec    compress.Codec
	rowGroup int64
}

var (
	_ connector.Sink[struct{}] = Sink[struct{}]{}
	_ connector.PlacedSink     = Sink[struct{}]{}
	_ connector.PublishedSink  = Sink[struct{}]{}
)

// Write returns a sink for dir/part-00000.parquet, dir/part-00001.parquet and so on: one file per
// task. T is a struct, with columns named as for Rows. The files are compressed with zstd; see
// Snappy. The job writes dir/manifest.json last, to mark the output as complete.
//
// Text that is not UTF-8 is an error, because other readers refuse such files. The tag bytes writes
// a string as bytes. A time that does not fit its column is an error too.
//
// The directory must be new, empty, or contain the output of an earlier job, which is replaced. A
// task keeps one row group in memory until it is complete; see RowGroup.
func Write[T any](dir string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("parquetio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "parquet"}))
}

// WriteFile returns a sink for a single file, with the rows in task order; see Write. It has at
// least one row group for each task with rows. An existing file is replaced when the job is done.
func WriteFile[T any](path string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("parquetio.WriteFile(%q)", path), &files.One{Path: path}))
}

func newSink[T any](s files.Sink) Sink[T] {
	return Sink[T]{sink: s, codec: &zstd.Codec{Level: zstd.SpeedFastest}, rowGroup: 64 << 20}.joined()
}

// joined gives the output the options that matter to joined files.
func (s Sink[T]) joined() Sink[T] {
	s.sink = files.JoinSink(s.sink, s.join, countRows)
	return s
}

// Snappy compresses with snappy. The files are larger than with zstd, but faster to read and write,
// and every reader supports them.
func (s Sink[T]) Snappy() Sink[T] {
	s.sink, s.codec = files.RenameSink(s.sink, s.String()+".Snappy()"), &snappy.Codec{}
	return s.joined()
}

// RowGroup sets the size of a row group in bytes, encoded but not compressed. The default is 64
// MiB; a size below 1 is refused. A row group is the smallest unit that a reader can take, and the
// amount of memory that a task of the sink uses.
func (s Sink[T]) RowGroup(bytes int64) Sink[T] {
	s.sink, s.rowGroup = files.RenameSink(s.sink, fmt.Sprintf("%s.RowGroup(%d)", s, bytes)), bytes
	return s.joined()
}

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.sink = files.SizeSink(s.sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.parquet. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.sink = files.FolderSink(s.sink, name, value)
	return s
}

// Check creates the directory. It returns an error if T cannot be written, or if the directory
// contains other files.
func (s Sink[T]) Check(ctx context.Context) error {
	if _, _, err := s.compile(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	if s.rowGroup <= 0 {
		return fmt.Errorf("%s: a row group needs at least 1 byte", s)
	}
	return s.sink.Check(ctx)
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	schema, check, err := s.compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return files.OpenEncoded(ctx, s.sink, files.Task(t), s.rowGroup, func(w *files.Writer) (files.Encoder[T], error) {
		schema, options := withoutBounds(schema)
		rows := parquet.NewGenericWriter[T](w, append(options, schema, parquet.Compression(s.codec))...)
		return &writer[T]{out: w, rows: rows, check: check, limit: s.rowGroup}, nil
	})
}

// compile returns T's schema and the guard of its values. It refuses types that the library writes
// wrongly.
func (s Sink[T]) compile() (*parquet.Schema, guard, error) {
	t := reflect.TypeFor[T]()
	schema, err := schemaOf(t)
	if err != nil {
		return nil, nil, err
	}
	return schema, structGuard(schema, t, ""), noDates(t, map[reflect.Type]bool{})
}

// noDates refuses a time.Time with the tag date at any depth: the library (0.32) writes a wrong
// day.
func noDates(t reflect.Type, seen map[reflect.Type]bool) error {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == timeType || seen[t] {
		return nil
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		at := f.Type == timeType || f.Type == reflect.PointerTo(timeType)
		if at && slices.Contains(strings.Split(f.Tag.Get("parquet"), ",")[1:], "date") {
			return fmt.Errorf("field %v.%s: a time.Time cannot be written as a date; make it an int32 of days since 1970, or a timestamp", t, f.Name)
		}
		if err := noDates(f.Type, seen); err != nil {
			return err
		}
	}
	return nil
}

// writer writes the file of one attempt.
type writer[T any] struct {
	out   *files.Writer
	rows  *parquet.GenericWriter[T]
	check guard // may be nil
	limit int64 // size of a row group in bytes
	base  int64 // size of the file without the open row group
}

// Write writes one record.
func (w *writer[T]) Write(r *T) error {
	if w.check != nil {
		if err := w.check(unsafe.Pointer(r)); err != nil {
			return err
		}
	}
	if _, err := w.rows.Write(unsafe.Slice(r, 1)); err != nil {
		return err
	}
	w.out.Records++
	if w.out.Records%64 != 0 || w.Held() < w.limit {
		return nil
	}
	return w.Flush()
}

// Held returns the bytes of the open row group, encoded but not compressed.
func (w *writer[T]) Held() int64 { return w.rows.Size() - w.base }

// Flush writes the open row group.
func (w *writer[T]) Flush() error {
	err := w.rows.Flush()
	w.base = w.rows.Size()
	return err
}

// End writes the footer.
func (w *writer[T]) End() error { return w.rows.Close() }
