// Package csvio reads and writes files of comma- or tab-separated values, one struct per row.
//
// Cells go to fields by the names in the header. The name of a field's column is its csv tag, else its json tag, else the
// field's name in any case. Columns that no field asks for cost almost nothing.
//
//	type Product struct {
//		SKU     string                         // column sku, Sku or SKU
//		Price   int64     `csv:"price" decimal:"2"` // 12.34 is read as 1234, exactly
//		Stock   *int      `csv:"stock"`             // nil when the cell is empty
//		Rating  float64   `csv:"rating,omitempty"`  // 0 when the cell is empty
//		Updated time.Time `csv:"updated_at" layout:"2006-01-02"`
//		Note    string    `csv:"note,optional"`     // files may lack the column
//		Cache   any       `csv:"-"`                 // no column
//	}
//
// Fields may be strings, []byte, integers, floats, bools, time.Time (RFC 3339 unless a layout tag says otherwise), types with
// UnmarshalText and MarshalText, pointers to those, and structs of them, whose columns are named outer.inner, or inner alone
// when the struct is embedded or tagged csv:",inline". A mapreduce.KV has the columns of its key and its value, or columns
// named key and value when those are no structs. An empty cell is an error for a number, bool or time, unless the
// field is a pointer or tagged omitempty.
//
// Quoting is that of RFC 4180 and encoding/csv: a cell with separators, quotes or line feeds stands in quotes, quotes in it
// are doubled. Blank lines are skipped, and a carriage return before the line feed that ends a row is dropped; one inside a
// cell is kept. Every row must have as many cells as the header.
//
// Strings of many rows share pieces of 64 KiB of memory, so one that is kept for long keeps its piece alive, unless it is
// cloned.
package csvio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
)

// Source reads rows. Rows and TSV make it; its methods return changed copies.
type Source[T any] struct {
	patterns []string
	comma    byte
	noHeader bool
	names    []string // of the columns, without a header
	columns  []string // to read into a []string
	noQuotes bool
	noFeeds  bool
}

// Rows is a source of the rows of all files that the patterns name: paths, globs and directories. T is a struct, or
// []string for the cells as they are. All files must have the columns that T needs, in any order; for []string the first
// file says which columns there are, and in which order.
//
// Files compressed with gzip or zstd are read in one piece. Others are cut between rows; to find out which line feeds end
// a row, Splits looks at every quote in files larger than a split, at about the speed of reading (see NoLineFeeds).
func Rows[T any](patterns ...string) Source[T] {
	return Source[T]{patterns: patterns, comma: ','}
}

// TSV is Rows for cells that are separated by tabs.
func TSV[T any](patterns ...string) Source[T] { return Rows[T](patterns...).Comma('\t') }

// Comma sets the byte between cells, such as ';'. It may not be a quote or an end of line.
func (s Source[T]) Comma(c byte) Source[T] {
	s.comma = c
	return s
}

// NoHeader says that the first row of a file is data, and names the columns. Without names, the columns are those of the
// struct in the order of its fields or, for []string, all.
func (s Source[T]) NoHeader(columns ...string) Source[T] {
	s.noHeader, s.names = true, columns
	return s
}

// Columns chooses the columns that a []string holds, in that order.
func (s Source[T]) Columns(names ...string) Source[T] {
	s.columns = names
	return s
}

// NoQuotes says that quotes are bytes like any other, as in many tab-separated files. Every line is a row.
func (s Source[T]) NoQuotes() Source[T] {
	s.noQuotes = true
	return s
}

// NoLineFeeds promises that no quoted cell holds a line feed. Files are then cut without looking at every quote first. A cell
// that breaks the promise is an error.
func (s Source[T]) NoLineFeeds() Source[T] {
	s.noFeeds = true
	return s
}

// String names the source and its options, such as csvio.Rows[Product]("p/*.csv").Comma(';').
func (s Source[T]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "csvio.Rows[%v](%s)", reflect.TypeFor[T](), quoted(s.patterns))
	if s.comma != ',' {
		fmt.Fprintf(&b, ".Comma(%q)", s.comma)
	}
	if s.noHeader {
		fmt.Fprintf(&b, ".NoHeader(%s)", quoted(s.names))
	}
	if len(s.columns) > 0 {
		fmt.Fprintf(&b, ".Columns(%s)", quoted(s.columns))
	}
	if s.noQuotes {
		b.WriteString(".NoQuotes()")
	}
	if s.noFeeds {
		b.WriteString(".NoLineFeeds()")
	}
	return b.String()
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}

// Header returns the names of the columns of the first file.
func (s Source[T]) Header(ctx context.Context) ([]string, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	for _, f := range fs {
		if f.Size > 0 {
			return s.header(ctx, f)
		}
	}
	return nil, fmt.Errorf("%s: the file is empty, so it has no header", fs[0].Path)
}

func (s Source[T]) check() error {
	if err := checkComma(s.comma); err != nil {
		return err
	}
	if len(s.columns) > 0 && reflect.TypeFor[T]() != stringsType {
		return fmt.Errorf("%s: Columns is for []string; the fields of %v choose the columns", s, reflect.TypeFor[T]())
	}
	return nil
}

func checkComma(c byte) error {
	if strings.IndexByte("\"\n\r.-+", c) >= 0 || '0' <= c && c <= '9' || 'A' <= c|' ' && c|' ' <= 'z' || c >= 0x80 {
		return fmt.Errorf("Comma(%q): cells cannot be separated by that byte; use one such as ',', ';', '|' or a tab", rune(c))
	}
	return nil
}

// description is what a split carries.
type description struct {
	Slices  []files.Slice `json:"slices"`
	Headers [][]string    `json:"headers"` // those that occur; the first is the one of the first file
	Use     []int         `json:"use"`     // which header each slice has; -1 for an empty file
}

// Splits reads the headers, and cuts the files between rows. It returns an error that names file, field and header when a
// column is missing.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]mapreduce.Split, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	fs, err := files.Expand(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	headers, cuts, err := s.survey(ctx, fs, target)
	if err != nil {
		return nil, err
	}
	var distinct [][]string
	use := make(map[string]int) // by path
	number := make(map[string]int)
	for i, f := range fs {
		if headers[i] == nil { // an empty file
			continue
		}
		key := strings.Join(headers[i], "\x00")
		n, ok := number[key]
		if !ok {
			n = len(distinct)
			number[key] = n
			distinct = append(distinct, headers[i])
			if _, err := newRowDecoder[T](s, headers[i], distinct[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		whole, err := files.Whole(ctx, f)
		if err != nil {
			return nil, err
		}
		use[whole.Path] = n
	}
	splits, err := files.SplitsAt(ctx, fs, target, cuts)
	if err != nil {
		return nil, err
	}
	for i := range splits {
		slices, err := files.SlicesOf(splits[i])
		if err != nil {
			return nil, err
		}
		if splits[i].Data, err = json.Marshal(describe(slices, distinct, use)); err != nil {
			return nil, err
		}
	}
	return splits, nil
}

// describe makes the description of a split: its slices, with those of the headers that they need. use says which header a path has.
func describe(slices []files.Slice, headers [][]string, use map[string]int) description {
	d := description{Slices: slices}
	place := make(map[int]int) // in d.Headers, by place in headers
	if len(headers) > 0 {
		d.Headers, place[0] = headers[:1:1], 0
	}
	for _, sl := range slices {
		n, ok := use[sl.Path]
		if !ok {
			d.Use = append(d.Use, -1)
			continue
		}
		at, ok := place[n]
		if !ok {
			at = len(d.Headers)
			place[n] = at
			d.Headers = append(d.Headers, headers[n])
		}
		d.Use = append(d.Use, at)
	}
	return d
}

// header returns the names of the columns of one file, nil when the file is empty.
func (s Source[T]) header(ctx context.Context, f files.File) (names []string, err error) {
	if s.noHeader && len(s.names) > 0 {
		return s.names, nil
	}
	if t := reflect.TypeFor[T](); s.noHeader && t != stringsType {
		columns, err := columnsOf(t)
		for _, c := range columns {
			names = append(names, c.name)
		}
		return names, err
	}
	whole, err := files.Whole(ctx, f)
	if err != nil {
		return nil, err
	}
	p := newParser(s.comma, s.noQuotes, 0)
	err = files.Exact(ctx, whole, func(c files.Chunk, last bool) (int, error) {
		p.reset(c.Data, last)
		for from := 0; from < len(c.Data); {
			next, err := p.row(from)
			switch {
			case errors.Is(err, errMore) && len(c.Data) < maxHeader:
				return from, nil
			case errors.Is(err, errMore):
				err = fmt.Errorf("no end within %d bytes", maxHeader)
				fallthrough
			case err != nil:
				return 0, fmt.Errorf("%s: the header cannot be read: %w", f.Path, err)
			}
			if p.n > 0 {
				p = newParser(s.comma, s.noQuotes, p.n)
				p.reset(c.Data, last)
				if _, err := p.row(from); err != nil {
					return 0, err
				}
				for i := range p.n {
					name := strings.Clone(p.text(i))
					if s.noHeader {
						name = fmt.Sprint(i + 1)
					}
					names = append(names, name)
				}
				return 0, files.ErrStop
			}
			from = next
		}
		return len(c.Data), nil
	})
	return names, err
}

// maxHeader is the most bytes that a header may have; without a limit, a quote left open would read the whole file.
const maxHeader = 4 << 20
