// Package jsonio reads and writes JSON Lines: files with one JSON value per line.
//
//	type Product struct {
//		SKU    string    `json:"sku"`
//		Price  int64     `json:"price" decimal:"2"` // 12.34 is read as 1234, exactly, and written as 12.34
//		Stock  int       `json:"stock,omitempty"`
//		Offers []Offer   `json:"offers"`
//		Seen   time.Time `json:"updated_at"`
//		Cache  any       `json:"-"`
//	}
//
//	products := mapreduce.Read(p, jsonio.Rows[Product]("catalog/*.jsonl"))
//
// Names, tags and types follow encoding/json, including MarshalJSON, UnmarshalJSON, MarshalText and
// UnmarshalText. Fields that are missing in a line, or null, are zero. A field that no line of the
// whole input has is probably misspelt: the run prints its name, its type and the nearest key. Tag
// it omitempty if it may be missing everywhere.
//
// The package adds the tag decimal:"n" for integer fields, for n from 0 to 18. The field holds a
// number times ten to the power of n. A number with more digits after the point is an error.
//
// Declare few fields: a line is read only up to the last field of the struct, other values on the
// way are skipped, and the rest is only checked. One core reads a handful of fields of a catalogue
// at about 2.5 GB/s.
//
// # Malformed lines
//
// A line is malformed when it is not JSON or does not fit the struct. Examples are a number with a
// fraction for an int, a number too large for its field, and a string for a number. The error
// contains the place, the expected form and the value found:
//
//	products.jsonl:1042: offset 57: field price: expected a number with at most 2 decimals that fits int64, found 12.345
//
// It ends the job, unless the option mapreduce.MaxBad or mapreduce.MaxBadShare allows bad records.
// A line of more than 64 MiB always ends the job.
//
// Every byte of a line is checked, whatever the fields of T. This finds lines that were cut off,
// and two records in one line. There are two exceptions:
//
//   - Strings may contain bytes other than UTF-8, which are passed on unchanged.
//   - If a key of a struct occurs twice in an object, its first value counts, as in DuckDB.
//
// The method Loose gives up some checks.
//
// # Memory
//
// Strings without escapes, and json.RawMessage, alias the memory of the file's data, so reading
// them copies nothing. Such a value that is kept for long keeps its block of 256 KiB (or more, for
// longer lines) in memory. strings.Clone makes an independent copy. The bytes of a RawMessage must
// not be changed.
package jsonio

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Source reads one record per line. It is a connector.Source[T], made by Rows.
type Source[T any] struct {
	patterns []string
	loose    bool
}

// Rows returns a source of all lines of the files that match the patterns: paths, globs (** matches
// any depth) and directories.
//
// T is a struct, or any other type that encoding/json can read a line into, such as map[string]any.
// The types string and json.RawMessage receive the unparsed line. Blank lines are skipped.
//
// Files compressed with gzip, zstd, bzip2 or xz are recognized by their first bytes or by their
// suffix. Plain files are split at lines, and zstd files at frames if the frames state their sizes.
// Other compressed files are read in one piece. A file that is not text is an error that names its
// format.
func Rows[T any](patterns ...string) Source[T] {
	return Source[T]{patterns: patterns}
}

// Loose returns a source that checks little of what T does not need: after the last field of the
// struct, and in a string or json.RawMessage, only that the object ends at the end of the line and
// not before. On processors without AVX2, a handful of fields of a catalogue then takes little more
// than half the time to read. On others it makes no difference.
func (s Source[T]) Loose() Source[T] {
	s.loose = true
	return s
}

// String returns the source and its options, such as jsonio.Rows("a", "b").
func (s Source[T]) String() string {
	quoted := make([]string, len(s.patterns))
	for i, p := range s.patterns {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	name := "jsonio.Rows(" + strings.Join(quoted, ", ") + ")"
	if s.loose {
		name += ".Loose()"
	}
	return name
}

// Splits cuts the files at any byte; Read completes the lines. A T that cannot be read is an error
// with the name of the field.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	if _, err := s.decoder(); err != nil {
		return nil, err
	}
	fs, err := files.ExpandText(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	return files.Convert[connector.Split](files.Splits(ctx, fs, target))
}

func (s Source[T]) decoder() (*jsoncodec.Decoder, error) {
	dec, err := jsoncodec.NewDecoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%s: rows of %s: %w", s, reflect.TypeFor[T](), err)
	}
	dec.Loose = s.loose
	return dec, nil
}

// Read emits one record per line of the split. Malformed lines go to r.Bad. The record is reused: a
// receiver copies it to keep it, and must not change it in place. The strings, slices, maps and
// pointers in it are never overwritten.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	dec, err := s.decoder()
	if err != nil {
		return err
	}
	rec := new(T)
	at := position{ctx: ctx}
	err = files.Chunks(ctx, job.Split(split), '\n', func(c files.Chunk) error {
		r.Path, r.Line = c.Path, 0
		at.enter(c)
		records := int64(0)
		for off := 0; off < len(c.Data); at.lines++ {
			line := c.Data[off:]
			r.Offset = c.Offset + int64(off)
			if n := bytes.IndexByte(line, '\n'); n >= 0 {
				line = line[:n]
			} else {
				line = append(line[:len(line):len(line)], padding...)[:len(line)]
			}
			off += len(line) + 1
			if err := dec.Decode(line, unsafe.Pointer(rec)); err != nil {
				if len(bytes.TrimSpace(line)) == 0 {
					continue
				}
				r.Line = at.line()
				if err := r.Bad(fmt.Errorf("%s:%d: %w", c.Path, r.Line, err), line); err != nil {
					return err
				}
				r.Line = 0
			} else {
				records++
				r.Emit(rec)
			}
			if r.Stopped() {
				return files.ErrStop
			}
		}
		r.Add(records, int64(len(c.Data)))
		return nil
	})
	if err != nil || r.Stopped() { // other records may have them
		return err
	}
	for _, a := range dec.Absent() {
		r.Absent(fmt.Sprintf("%s (%s)", a.Path, a.Type), a.Near)
	}
	return nil
}

// padding is the memory that the decoder needs after a line. It is added to a last line without a
// line feed.
var padding = append([]byte{'\n'}, make([]byte, jsoncodec.Padding)...)

// position counts lines, for error messages. A split contains at most one contiguous range of each
// file.
type position struct {
	ctx context.Context
	// chunk is the first chunk of the current file, without Data.
	chunk files.Chunk
	// first is the number of the first line of that chunk; zero when not known.
	first int64
	// lines is the number of lines from there to the current line.
	lines int64
}

// enter continues with chunk c.
func (p *position) enter(c files.Chunk) {
	if c.Path != p.chunk.Path {
		*p = position{ctx: p.ctx, chunk: c}
		p.chunk.Data = nil
		if c.First {
			p.first = 1
		}
	}
}

// line returns the number of the current line. It is zero when the file cannot be read again to
// count the lines before the split.
func (p *position) line() int64 {
	if p.first == 0 {
		n, err := files.LineOf(p.ctx, p.chunk.Path, p.chunk.Codec, p.chunk.Offset)
		if err != nil {
			return 0
		}
		p.first = n
	}
	return p.first + p.lines
}
