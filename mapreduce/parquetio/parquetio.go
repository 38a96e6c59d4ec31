// Package parquetio reads and writes Parquet files, one struct per row.
//
//	type Product struct {
//		SKU     string    `parquet:"sku"`
//		Price   float64   `parquet:"price"`
//		Stock   *int64    `parquet:"stock"` // nil for null
//		Updated time.Time `parquet:"updated_at"`
//		Tags    []string  `parquet:"tags,list"`
//	}
//
//	products := mapreduce.Read(p, parquetio.Rows[Product]("catalog/*.parquet"))
//
// # Columns
//
// The tags are defined by github.com/parquet-go/parquet-go. Only the columns of the struct are read
// from a file. Without a tag, a column has exactly the name of the field.
//
// A null is read as the zero value, or as nil for a pointer. A column of nulls without a type fits
// every field. Slices read lists in all forms that writers use, with or without the tag list.
//
// The type of the file and the type of the field, with its tag, must mean the same. All columns are
// converted in one way, alone or in lists, maps and structs:
//
//	BOOLEAN                    bool
//	INT32, INT64, INT(n)       integers of the same width or wider; unsigned columns need uint or wider
//	FLOAT16, FLOAT, DOUBLE     floats of the same width or wider
//	STRING, ENUM, JSON, bytes  string, []byte
//	FIXED(n)                   [n]byte, []byte
//	UUID                       string, [16]byte, []byte
//	DECIMAL(p,s)               int32, int64, []byte with the tag decimal(s:p); the scale s must be the same
//	DATE                       time.Time, or int32 with the tag date
//	TIME                       time.Duration, or an integer with the tag time(unit) of the same unit
//	TIMESTAMP, INT96           time.Time in UTC, or int64 with the tag timestamp(unit) of the same unit
//
// A time.Time cannot be written as a date. A time.Duration without the tag time is written as plain
// nanoseconds, and reads plain integers as nanoseconds.
//
// A missing column, a column with another type, and a name that occurs twice are errors. They name
// the file, the column, both types and a field that fits. Columns compressed with LZ4 are refused.
//
// # Speed and memory
//
// Plain fields, also in inner structs, are read column by column. Lists, maps and pointers to
// structs are assembled row by row, which is several times slower.
//
// Strings share blocks of 64 KiB that are never reused; a string that is kept for long keeps its
// block in memory. The strings of a dictionary-encoded column exist once per row group.
package parquetio

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Source reads rows from Parquet files. It is a connector.Source[T], made by Rows. Its methods
// return changed copies.
type Source[T any] struct {
	patterns []string
	missing  []string
}

// Rows returns a source of all rows of the files that match the patterns: paths, globs (** matches
// any depth) and directories. T is a struct.
//
// A split contains one or more whole row groups of one or more files. The position of a record is
// its row number in the file, from 1.
func Rows[T any](patterns ...string) Source[T] { return Source[T]{patterns: patterns} }

// AllowMissing allows files without these columns; their fields are then zero. The names of nested
// fields are joined by dots, such as address.city. A list or map counts as one name. The name of a
// struct allows all its fields.
func (s Source[T]) AllowMissing(columns ...string) Source[T] {
	s.missing = append(slices.Clip(s.missing), columns...)
	return s
}

// String returns the source and its options, such as parquetio.Rows[Product]("p/*.parquet").
func (s Source[T]) String() string {
	out := fmt.Sprintf("parquetio.Rows[%v](%s)", reflect.TypeFor[T](), quoteAll(s.patterns))
	if len(s.missing) > 0 {
		out += fmt.Sprintf(".AllowMissing(%s)", quoteAll(s.missing))
	}
	return out
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}

// Splits reads the footers, and packs row groups into splits of about target bytes (64 MiB when
// zero). It counts only the bytes of T's columns. It returns an error with the file, the column and
// both types when a file does not fit T.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	return files.Convert[connector.Split](parquetfile.Splits(ctx, fs, target, s.groups))
}

// groups returns the row groups of one file as pieces.
func (s Source[T]) groups(ctx context.Context, f files.File) ([]parquetfile.Piece, error) {
	p, err := parquetfile.NewPiece(ctx, f)
	if err != nil {
		return nil, err
	}
	file, closer, columns, err := s.open(ctx, &p)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	p.Total = len(file.RowGroups())
	out := make([]parquetfile.Piece, p.Total)
	for i := range out {
		p.Groups, p.Bytes = []int{i}, parquetfile.Bytes(file, i, columns.read)
		out[i] = p
	}
	return out, nil
}

// open opens a file, checks that it is unchanged since the split, and finds T's columns in it.
func (s Source[T]) open(ctx context.Context, p *parquetfile.Piece) (file *parquet.File, closer io.Closer, columns *columns[T], err error) {
	file, closer, err = p.Open(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	err = parquetfile.Recover(p.Path, func() error {
		if columns, err = match[T](file, s.missing); err != nil {
			return fmt.Errorf("%s: %w", p.Path, err)
		}
		if err := parquetfile.Check(file, columns.read); err != nil {
			return fmt.Errorf("%s: %w", p.Path, err)
		}
		return nil
	})
	if err != nil {
		closer.Close()
		return nil, nil, nil, err
	}
	return file, closer, columns, nil
}

// Read emits the rows of one split.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	pieces, err := parquetfile.Pieces(split.Label, split.Data)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if err := s.readPiece(ctx, p, r); err != nil || r.Stopped() {
			return err
		}
	}
	return nil
}

func (s Source[T]) readPiece(ctx context.Context, p parquetfile.Piece, r *connector.Reader[T]) error {
	file, closer, columns, err := s.open(ctx, &p)
	if err != nil {
		return err
	}
	defer closer.Close()
	groups := file.RowGroups()
	r.Path = p.Path
	batch := make([]T, batchRows)
	for _, i := range p.Groups {
		if r.Stopped() {
			return nil
		}
		if r.Line, err = p.Before(file, i); err != nil {
			return err
		}
		if err := readGroup(ctx, groups[i], columns, parquetfile.Bytes(file, i, columns.read), batch, r); err != nil {
			return fmt.Errorf("%s: row group %d: %w", p.Path, i, err)
		}
	}
	return nil
}

// readGroup emits the rows of one row group. bytes is the size of its columns, for progress.
func readGroup[T any](ctx context.Context, g parquet.RowGroup, columns *columns[T], bytes int64, batch []T, r *connector.Reader[T]) error {
	var rows rowReader[T]
	if err := parquetfile.Recover(r.Path, func() error { rows = columns.reader(g); return nil }); err != nil {
		return err
	}
	defer rows.close()
	for left := g.NumRows(); left > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		clear(batch) // receivers may keep slices and pointers of the last batch
		n := min(left, batchRows)
		if err := parquetfile.Recover(r.Path, func() error { return rows.next(batch[:n]) }); err != nil {
			return fmt.Errorf("rows %d to %d: %w", r.Line+1, r.Line+n, err)
		}
		for k := range n {
			if r.Stopped() {
				return nil
			}
			r.Offset = r.Line
			r.Line++
			r.Emit(&batch[k])
		}
		part := bytes * n / left
		r.Add(n, part)
		left, bytes = left-n, bytes-part
	}
	return nil
}

// batchRows is the number of rows decoded at once: enough to share the cost of the calls, and few
// enough to stay in the cache.
const batchRows = 512
