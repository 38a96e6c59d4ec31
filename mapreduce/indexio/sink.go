package indexio

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"unsafe"

	"github.com/blevesearch/bleve/v2"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink has the methods that do not depend on the records.
type sink = files.Sink

// Sink writes an index. It is a connector.Sink[T], made by Write.
type Sink[T any] struct {
	sink
	id func(T) string
}

var (
	_ connector.Sink[string]  = Sink[string]{}
	_ connector.PlacedSink    = Sink[string]{}
	_ connector.PublishedSink = Sink[string]{}
	_ connector.MemorySink    = Sink[string]{}
)

// Write returns a sink for an index in a directory: one file per task, dir/part-00000.bleve and so
// on, and dir/manifest.json last. The directory must be new, empty, or contain the output of an
// earlier job, which is replaced. id returns the ID of a record's document; no two records may have
// the same one.
func Write[T any](dir string, id func(T) string) Sink[T] {
	return Sink[T]{files.NewSink(fmt.Sprintf("indexio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "bleve"}), id}
}

// Check creates the directory. It returns an error if the directory contains other files, or if T
// has a tag that cannot be used.
func (s Sink[T]) Check(ctx context.Context) error {
	if s.id == nil {
		return fmt.Errorf("%s: the function for IDs is nil", s)
	}
	if _, err := fieldsOf(reflect.TypeFor[T]()); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	if _, err := jsoncodec.NewEncoder(reflect.TypeFor[T]()); err != nil {
		return fmt.Errorf("%s: records of %s: %w", s, reflect.TypeFor[T](), err)
	}
	return s.sink.Check(ctx)
}

// HoldsMemory marks the sink: an attempt holds a batch of documents.
func (s Sink[T]) HoldsMemory() {}

// Open starts the shard of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	fields, err := fieldsOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	enc, err := jsoncodec.NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	out, err := files.CreateFile(ctx, s.sink, files.Task(t))
	if err != nil {
		return nil, err
	}
	return &writer[T]{s: s, out: out, fields: fields, enc: enc, batch: batchOf(connector.TaskMemory(ctx))}, nil
}

// writer builds one shard in a temporary directory. Close packs it into one file.
type writer[T any] struct {
	s       Sink[T]
	out     *files.Writer
	fields  []field
	enc     *jsoncodec.Encoder
	batch   int // number of documents in memory
	buf     []byte
	dir     string        // empty before the first record
	builder bleve.Builder // nil before the first record and after Close
}

const (
	// minBatch and maxBatch limit the number of documents that are in memory before they become a
	// segment on disk.
	minBatch, maxBatch = 100, 1000
	// batchBytes is the memory for each of them. Two builders with 1,000 documents of 300 bytes
	// each take about 100 MB.
	batchBytes = 50_000
)

// batchOf returns the number of documents that fit in memory; zero means no limit.
func batchOf(memory int64) int {
	if memory == 0 {
		return maxBatch
	}
	return int(min(max(memory/batchBytes, minBatch), maxBatch))
}

// Write adds one document.
func (w *writer[T]) Write(r *T) (err error) {
	id := w.s.id(*r)
	if id == "" {
		return connector.Skip(fmt.Errorf("the ID of a record is empty"))
	}
	if w.buf, err = w.enc.Append(w.buf[:0], unsafe.Pointer(r)); err != nil {
		return connector.Skip(fmt.Errorf("document %q: %w", id, err))
	}
	if w.builder == nil {
		if w.dir, err = os.MkdirTemp("", "layshaft-index-"); err != nil {
			return err
		}
		w.builder, err = bleve.NewBuilder(filepath.Join(w.dir, "shard"), mappingOf(w.fields), map[string]any{"batchSize": w.batch, "buildPathPrefix": w.dir})
		if err != nil {
			return err
		}
	}
	w.out.Records++
	return w.builder.Index(id, document(w.fields, reflect.ValueOf(r).Elem(), string(w.buf)))
}

// Close merges the segments and packs the shard. A task without records has an empty file.
func (w *writer[T]) Close() ([]byte, error) {
	if w.builder != nil {
		err := w.builder.Close()
		w.builder = nil
		if err != nil {
			return nil, err
		}
		pack := tar.NewWriter(w.out)
		if err := pack.AddFS(os.DirFS(filepath.Join(w.dir, "shard"))); err != nil {
			return nil, err
		}
		if err := pack.Close(); err != nil {
			return nil, err
		}
	}
	part, err := w.out.Close()
	if err == nil {
		err = os.RemoveAll(w.dir)
	}
	return part, err
}

// Abort removes the shard.
func (w *writer[T]) Abort() {
	if w.builder != nil {
		_ = w.builder.Close()
	}
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
	w.out.Abort()
}
