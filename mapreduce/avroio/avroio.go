// Package avroio reads and writes object container files of Avro.
//
//	type Product struct {
//		Name  string `avro:"name"`
//		Cents int64  `avro:"cents"`
//	}
//
//	products := mapreduce.Read(p, avroio.Rows[Product]("in/*.avro"))
//	products.WriteTo(avroio.Write[Product]("out", `{"type": "record", "name": "product", "fields": [
//		{"name": "name", "type": "string"}, {"name": "cents", "type": "long"}]}`))
//
// Fields take the values under the names in their tags; other values are left out. The types of Go
// for the types of Avro are defined by github.com/hamba/avro: a union with null is a pointer, and a
// decimal is a *big.Rat. Text must be UTF-8. Patterns are paths, globs (** matches any depth) and
// directories. A file is read in one piece, and small files share a task.
package avroio

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/hamba/avro/v2"
	"github.com/hamba/avro/v2/ocf"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// config limits what a damaged file may make the decoder allocate.
var config = avro.Config{MaxByteSliceSize: files.MaxRecord, MaxSliceAllocSize: files.MaxRecord}.Freeze()

// Source reads records as values of type T. It is a connector.Source[T], made by Rows.
type Source[T any] struct{ patterns []string }

// Rows returns a source of the records of files.
func Rows[T any](patterns ...string) Source[T] { return Source[T]{patterns} }

// String returns the source, such as avroio.Rows("in/*.avro").
func (s Source[T]) String() string {
	return files.Call("avroio.Rows", "", s.patterns)
}

// Splits packs the files into splits of about target bytes; zero means 64 MiB.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	for i := range fs {
		fs[i].Codec, fs[i].Raw = files.Plain, fs[i].Size // Avro compresses its own blocks
	}
	return files.Convert[connector.Split](files.SplitsAt(ctx, fs, target, make([][]int64, len(fs))))
}

// Read emits the records of the split. The position of a record is its number in the file, from 1.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	slices, err := files.SlicesOf(job.Split(split))
	if err != nil {
		return err
	}
	for _, sl := range slices {
		if err := readFile(ctx, sl, r); err != nil {
			return fmt.Errorf("%s: record %d: %w", sl.Path, r.Line, err)
		}
		if r.Stopped() {
			return nil
		}
	}
	return nil
}

func readFile[T any](ctx context.Context, sl files.Slice, r *connector.Reader[T]) (err error) {
	r.Path, r.Offset, r.Line = sl.Path, 0, 0
	f, err := files.Open(ctx, sl.Path, sl.Hosts, sl.Version)
	if err != nil {
		return err
	}
	defer f.Close()
	unchanged := func() error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return files.CheckUnchanged(info, sl.Path, sl.Size, sl.ModTime)
	}
	if err := unchanged(); err != nil {
		return err
	}
	defer func() { err = cmp.Or(unchanged(), err) }()
	d, err := ocf.NewDecoder(newGuard(f.Stream(0, sl.Size), sl.Size), ocf.WithDecoderConfig(config))
	if err != nil {
		return fmt.Errorf("not an Avro file, or damaged: %w", err)
	}
	defer d.Close()
	var v T
	for d.HasNext() {
		v = *new(T) // users may keep the record before
		r.Line++
		if err := d.Decode(&v); err != nil {
			return err
		}
		r.Emit(&v)
		if r.Stopped() {
			return nil
		}
		if r.Line%1024 == 0 {
			r.Add(1024, 0)
		}
	}
	r.Add(r.Line%1024, sl.Size)
	return d.Error()
}

// Sink writes records. It is a connector.Sink[T], made by Write and WriteFile.
type Sink[T any] struct {
	files.Sink
	schema avro.Schema
	err    error
}

// Write returns a sink for dir/part-00000.avro, dir/part-00001.avro and so on, one file per task.
// schema is the schema as JSON. Blocks are compressed by deflate, which all readers of Avro have.
// The job writes dir/manifest.json last, to mark the output as complete.
func Write[T any](dir, schema string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("avroio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "avro"}), schema)
}

// WriteFile returns a sink for a single file, with the records in task order. An existing file is
// replaced when the job is done.
func WriteFile[T any](path, schema string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("avroio.WriteFile(%q)", path), &files.One{Path: path}), schema)
}

func newSink[T any](sink files.Sink, schema string) Sink[T] {
	s := Sink[T]{Sink: sink}
	// a cache of its own, so that two sinks may define one name differently
	if s.schema, s.err = avro.ParseBytesWithCache([]byte(schema), "", &avro.SchemaCache{}); s.err == nil {
		s.err = fits[T](s.schema)
	}
	return s
}

// fits returns an error if no value of type T fits a schema. The zero value need not fit: a pointer
// may be nil in it, or the text of an enum empty.
func fits[T any](schema avro.Schema) (err error) {
	defer func() {
		if recover() != nil { // a decimal is nil
			err = nil
		}
	}()
	_, err = config.Marshal(schema, new(T))
	if err != nil && !strings.Contains(err.Error(), "is unsupported") && !strings.Contains(err.Error(), "missing required field") {
		return nil
	}
	return err
}

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.Sink = files.SizeSink(s.Sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.avro. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.Sink = files.FolderSink(s.Sink, name, value)
	return s
}

// Check refuses a schema that does not fit T, and a place that cannot be written.
func (s Sink[T]) Check(ctx context.Context) error {
	if s.err != nil {
		return fmt.Errorf("%s: schema: %w", s, s.err)
	}
	return s.Sink.Check(ctx)
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	if s.err != nil {
		return nil, s.err
	}
	return files.OpenEncoded(ctx, s.Sink, files.Task(t), 0, func(w *files.Writer) (files.Encoder[T], error) {
		out := &writer[T]{w: w, schema: s.schema, text: checkOf(reflect.TypeFor[T](), "", map[reflect.Type]bool{})}
		// The mark between blocks must not occur in data by chance. All files of a schema have the
		// same one, so that their blocks can be joined, and every attempt writes the same bytes.
		out.mark = sha256.Sum256([]byte("avroio " + s.schema.String()))
		var err error
		if out.zip, err = flate.NewWriter(&out.packed, flate.DefaultCompression); err == nil {
			err = w.WriteHead(out.header())
		}
		return out, err
	})
}

// blockSize is the number of bytes of a block before compression.
const blockSize = 64 << 10

// writer writes an object container file. Package ocf would write its header in random order.
type writer[T any] struct {
	w      *files.Writer
	schema avro.Schema
	text   textCheck // may be nil
	mark   [32]byte  // the first 16 bytes end each block
	buf    []byte
	count  int64
	packed bytes.Buffer
	zip    *flate.Writer
}

func (w *writer[T]) header() []byte {
	text := func(b []byte, s string) []byte { return append(binary.AppendVarint(b, int64(len(s))), s...) }
	b := binary.AppendVarint([]byte("Obj\x01"), 2)
	b = text(text(b, "avro.codec"), "deflate")
	b = text(text(b, "avro.schema"), w.schema.String())
	return append(append(b, 0), w.mark[:16]...)
}

// Write adds one record.
func (w *writer[T]) Write(v *T) error {
	if w.text != nil {
		if err := w.text(reflect.ValueOf(v).Elem()); err != nil {
			return connector.Skip(err)
		}
	}
	b, err := config.Marshal(w.schema, v)
	if err != nil {
		return connector.Skip(err)
	}
	w.buf = append(w.buf, b...)
	w.count++
	w.w.Records++
	if len(w.buf) < blockSize {
		return nil
	}
	return w.flush()
}

// flush writes a block.
func (w *writer[T]) flush() error {
	if w.count == 0 {
		return nil
	}
	w.packed.Reset()
	w.zip.Reset(&w.packed)
	_, err := w.zip.Write(w.buf)
	if err = errors.Join(err, w.zip.Close()); err != nil {
		return err
	}
	if w.packed.Len() > math.MaxInt32 {
		return fmt.Errorf("a block of %d bytes is too large", w.packed.Len())
	}
	head := binary.AppendVarint(binary.AppendVarint(nil, w.count), int64(w.packed.Len()))
	for _, b := range [][]byte{head, w.packed.Bytes(), w.mark[:16]} {
		if _, err := w.w.Write(b); err != nil {
			return err
		}
	}
	w.buf, w.count = w.buf[:0], 0
	return nil
}

// End writes the last block.
func (w *writer[T]) End() error { return w.flush() }

// Held returns the bytes of the open block.
func (w *writer[T]) Held() int64 { return int64(len(w.buf)) }

// Flush writes the open block.
func (w *writer[T]) Flush() error { return w.flush() }
