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
// Names, tags and types are those of encoding/json, with methods for JSON or text honoured. The tag decimal is added: it
// makes an integer field hold a number times ten to the power of the tag; one with more digits than that is an error.
//
// Ask for few fields: a line is read up to the last one that the struct names, and what stands between is skipped. A core
// reads a handful of fields of a catalogue at about 2.5 GB/s. Fields that a line lacks, or that are null, are zero.
//
// # Malformed rows
//
// A line is malformed when it is not JSON or does not fit the struct: a number with a fraction for an int, one that is too
// large, a string for a number. The error says where, what was expected and what was found:
//
//	products.jsonl:1042: offset 57: field price: expected a number with at most 2 decimals that fits int64, found 12.345
//
// All bytes up to the last wanted field are checked, except that strings may hold bytes that are not UTF-8: they are passed as they are.
// Behind it, the line must end in a closing brace and have as many of those as opening ones, which finds lines that
// were cut off; names, values and commas there are not looked at. Lines read as string or json.RawMessage are checked in that
// way only. When a key occurs twice in an object, the last one counts, among those that are read.
//
// # Memory
//
// Strings without escapes, and json.RawMessage, alias the memory that the file was read into. They cost no copy; one that
// is kept for long keeps up to 1 MiB of its neighbours, of which strings.Clone frees it. The bytes of a RawMessage must not be changed.
package jsonio

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
	"github.com/layshaft/layshaft/mapreduce/jsonio/internal/codec"
)

// Source reads one record per line. It is a mapreduce.Source[T].
type Source[T any] struct{ patterns []string }

// Rows reads the lines of all files that the patterns name: paths, globs (with ** for any depth) and directories. Files that
// end in .gz or .zst, or begin like one, are decompressed. T is a struct, or any other type that encoding/json can read a
// line into, such as map[string]any; string and json.RawMessage stand for the line as it is. Blank lines are skipped.
func Rows[T any](patterns ...string) Source[T] { return Source[T]{patterns} }

// String returns jsonio.Rows("a", "b").
func (s Source[T]) String() string {
	quoted := make([]string, len(s.patterns))
	for i, p := range s.patterns {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return "jsonio.Rows(" + strings.Join(quoted, ", ") + ")"
}

// Splits cuts the files behind any byte; Read makes whole lines of that. It refuses a T that cannot be read, naming the field.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]mapreduce.Split, error) {
	if _, err := s.decoder(); err != nil {
		return nil, err
	}
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	return files.Splits(ctx, fs, target, false)
}

func (s Source[T]) decoder() (*codec.Decoder, error) {
	dec, err := codec.NewDecoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%s: rows of %s: %w", s, reflect.TypeFor[T](), err)
	}
	return dec, nil
}

// Read hands the record of every line of the split to r, and malformed lines to r.Bad. The record is reused: it must be
// copied to be kept, and not be changed in place; what its strings, slices, maps and pointers refer to is never touched again.
func (s Source[T]) Read(ctx context.Context, split mapreduce.Split, r *mapreduce.Reader[T]) error {
	dec, err := s.decoder()
	if err != nil {
		return err
	}
	rec := new(T)
	at := position{ctx: ctx}
	return files.Chunks(ctx, split, '\n', func(c files.Chunk) error {
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
}

// padding is what the decoder needs behind a line: the last of a file may lack its line feed.
var padding = append([]byte{'\n'}, make([]byte, codec.Padding)...)

// position counts lines, so that errors can name them. A split holds at most one run of lines of each file.
type position struct {
	ctx   context.Context
	chunk files.Chunk // without Data: the first of the file at hand
	first int64       // number of the line at which that chunk starts; zero when not known
	lines int64       // since then, before the line at hand
}

// enter goes on with c.
func (p *position) enter(c files.Chunk) {
	if c.Path != p.chunk.Path {
		*p = position{ctx: p.ctx, chunk: c}
		p.chunk.Data = nil
		if c.First {
			p.first = 1
		}
	}
}

// line returns the number of the line at hand, or zero when the file cannot be read again to count those before the split.
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
