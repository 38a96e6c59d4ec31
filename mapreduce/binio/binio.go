// Package binio reads and writes records of a fixed number of bytes, without anything between them.
//
//	records := mapreduce.Read(p, binio.Records(100, "sort/input-*"))
//
// Patterns are paths, globs (** matches any depth) and directories. Files with a suffix .gz or .zst
// are decompressed. Unlike for text, the first bytes of a file do not matter, because a record may
// start with any bytes.
//
// Plain files are split between records, into splits of 64 MiB by default. Zstd files are split at
// frames if the frames state their sizes. Gzip files are read in one piece. A file that ends within
// a record is an error.
package binio

import (
	"context"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Source reads records of fixed size as values of type T. It is a connector.Source[T], made by
// Records or RecordsAs.
type Source[T any] struct {
	name     string
	size     int
	patterns []string
	decode   func(b string, v *T) error // nil if T is string and the bytes are the value
}

// Records returns a source of records of size bytes, from 1 to 64 MiB. A record aliases the memory
// of the file's data, so reading it copies nothing. A record that is kept for long keeps its block
// of up to 256 KiB in memory. strings.Clone makes an independent copy.
func Records(size int, patterns ...string) Source[string] {
	return Source[string]{files.Call("binio.Records", strconv.Itoa(size), patterns), size, patterns, nil}
}

// RecordsAs returns a source of records of size bytes, decoded into values of type T. decode
// receives the bytes, which never change, and a value that may still contain the previous record.
// An error of decode makes the record a bad record; see mapreduce.MaxBad.
func RecordsAs[T any](size int, decode func(b string, v *T) error, patterns ...string) Source[T] {
	return Source[T]{files.Call("binio.RecordsAs", strconv.Itoa(size), patterns), size, patterns, decode}
}

// String returns the source, such as binio.Records(100, "a").
func (s Source[T]) String() string { return s.name }

// Splits cuts the files at any byte; Read completes the records. target is the size of a split in
// bytes; zero means 64 MiB. A plain file whose size is not a multiple of the record size is an
// error.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
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
			return nil, files.PartialRecordError(f.Path, f.Size, s.size)
		}
	}
	return files.Convert[connector.Split](files.Splits(ctx, fs, target))
}

// Read emits every record of the split. The position of a record is its offset in bytes in the
// decompressed file.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	var v T
	str, _ := any(&v).(*string)
	return files.Blocks(ctx, job.Split(split), s.size, func(c files.Chunk) error {
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
