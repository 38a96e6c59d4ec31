// Package binio reads and writes records of a fixed number of bytes, back to back and without anything between them.
//
// Paths may be globs (with ** for any depth) or directories. A file whose name ends in .gz or .zst is decompressed; unlike
// in text files the first bytes decide nothing, as a record may begin with any.
package binio

import (
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
)

// Source reads records of fixed size as values of type T. It is a mapreduce.Source[T].
type Source[T any] struct {
	name     string
	size     int
	patterns []string
	decode   func(b string, v *T) error // nil when T is string and the bytes are the value
}

// Records reads records of size bytes. A record aliases the memory that the file was read into: it costs no copy, and one
// that is kept keeps up to 256 KiB of its neighbours.
func Records(size int, patterns ...string) Source[string] {
	return Source[string]{call("Records", size, patterns), size, patterns, nil}
}

// RecordsAs reads records of size bytes and decodes each into a value. decode gets the bytes, which never change, and a
// value that may hold the record before; an error makes the record a malformed one.
func RecordsAs[T any](size int, decode func(b string, v *T) error, patterns ...string) Source[T] {
	return Source[T]{call("RecordsAs", size, patterns), size, patterns, decode}
}

// String returns binio.Records(100, "a").
func (s Source[T]) String() string { return s.name }

// Splits cuts the files between bytes; Read makes whole records of that. A file whose size is no multiple of the record
// size is an error.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]mapreduce.Split, error) {
	if s.size < 1 || s.size > files.MaxRecord {
		return nil, fmt.Errorf("%s: the record size must be between 1 and %d bytes", s.name, files.MaxRecord)
	}
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	for i, f := range fs {
		if fs[i].Codec = files.BySuffix(f.Path); fs[i].Codec != files.Plain {
			continue
		}
		fs[i].Raw = f.Size
		if rest := f.Size % int64(s.size); rest != 0 {
			return nil, files.Ragged(f.Path, f.Size, s.size)
		}
	}
	return files.Splits(ctx, fs, target, false)
}

// Read hands every record of the split to r.
func (s Source[T]) Read(ctx context.Context, split mapreduce.Split, r *mapreduce.Reader[T]) error {
	var v T
	str, _ := any(&v).(*string)
	return files.Blocks(ctx, split, s.size, func(c files.Chunk) error {
		r.Path = c.Path
		for off := 0; off < len(c.Data); off += s.size {
			r.Offset = c.Offset + int64(off)
			raw := unsafe.String(&c.Data[off], s.size)
			if s.decode == nil {
				*str = raw
			} else if err := s.decode(raw, &v); err != nil {
				if err := r.Bad(err, c.Data[off:off+s.size]); err != nil {
					return err
				}
				continue
			}
			r.Emit(&v)
			if r.Stopped() {
				return files.ErrStop
			}
		}
		r.Add(int64(len(c.Data)/s.size), int64(len(c.Data)))
		return nil
	})
}

func call(name string, size int, patterns []string) string {
	args := []string{fmt.Sprint(size)}
	for _, p := range patterns {
		args = append(args, fmt.Sprintf("%q", p))
	}
	return "binio." + name + "(" + strings.Join(args, ", ") + ")"
}
