// Package csvio reads and writes comma-separated or tab-separated files, one struct per row.
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
//	products := mapreduce.Read(p, csvio.Rows[Product]("catalog/*.csv"))
//
// # Columns
//
// The header of a file connects its columns to the fields of the struct. The column of a field is
// named by its csv tag. Without that tag it is named by the json tag, and without either by the
// field's name in any case. Columns without a field cost almost nothing.
//
// Two options may follow the name in the csv tag, and a third applies to structs:
//
//   - optional: files may lack the column. The field is then zero.
//   - omitempty: an empty cell is read as zero, and zero is written as an empty cell.
//   - inline: the columns of an inner struct get no prefix.
//
// The columns of an inner struct are named outer.inner. An embedded struct without a name in its
// csv tag is always inline. A mapreduce.KV has the columns of its key and of its value; a key or
// value of another type is a column named key or value.
//
// # Types
//
// A field may be a string, []byte, integer, float, bool or time.Time. It may also be a type with
// UnmarshalText (to read) and MarshalText (to write), or a pointer to any of these.
//
//   - An integer with the tag decimal:"n" holds a decimal number times ten to the power of n, for n
//     from 0 to 18. A cell with more digits after the point is an error, unless those digits are
//     zeros.
//   - A time is read and written as RFC 3339. The tag layout gives another layout, in the notation
//     of package time. Without an offset, the time is in UTC. A layout with the abbreviation of a
//     zone (MST) needs an offset too: what PST means depends on the machine.
//   - An empty cell is an error for a number, bool or time, unless the field is a pointer or has
//     the option omitempty. A nil pointer is written as an empty cell.
//
// # Rows
//
// Quoting follows RFC 4180 and encoding/csv. A cell with separators, quotes or line feeds is
// enclosed in quotes, and quotes inside it are doubled. Blank lines are skipped. A carriage return
// before the line feed at the end of a row is dropped; one inside a cell is kept. Every row must
// have as many cells as the header.
//
// A file whose lines end with a carriage return alone is an error. So is a file that is not text,
// such as a zip archive or UTF-16; the error names the format. A file without a header is left out,
// and the run prints its name. If no file has one, it is an error.
//
// A malformed row is an error with its file, line and column. It ends the job, unless the option
// mapreduce.MaxBad or mapreduce.MaxBadShare allows bad records. A malformed row ends at the first
// line feed after the wrong byte, so it does not spoil the next row. A row of more than 64 MiB, or
// a header of more than 4 MiB, always ends the job.
//
// # Memory
//
// Strings of many rows share blocks of 64 KiB. A string that is kept for long keeps its whole block
// in memory; strings.Clone makes an independent copy.
package csvio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/csvcodec"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Source reads rows from CSV files. It is a connector.Source[T], made by Rows or TSV. Its methods
// return changed copies.
type Source[T any] struct {
	patterns []string
	comma    byte
	noHeader bool
	// names are the column names of files without a header.
	names []string
	// columns are the columns to read into a []string.
	columns  []string
	noQuotes bool
	noFeeds  bool
}

// Rows returns a source of all rows of the files that match the patterns: paths, globs (** matches
// any depth) and directories. T is a struct, or []string for the plain cells. Every file must have
// the columns of T, in any order. For []string, the first file sets the columns and their order;
// see Columns.
//
// Files compressed with gzip, zstd, bzip2 or xz are recognized by first bytes or by suffix, and
// read in one piece. Plain files are cut between rows, into splits of 64 MiB by default. To tell
// line feeds between rows from line feeds inside cells, Splits reads the whole of each file larger
// than a split; NoLineFeeds avoids this.
func Rows[T any](patterns ...string) Source[T] {
	return Source[T]{patterns: patterns, comma: ','}
}

// TSV is Rows for cells separated by tabs.
func TSV[T any](patterns ...string) Source[T] { return Rows[T](patterns...).Comma('\t') }

// Comma sets the byte between cells, such as ';'. It may not be a quote, a line end, a letter, a
// digit, '.', '+', '-' or a byte outside ASCII.
func (s Source[T]) Comma(c byte) Source[T] {
	s.comma = c
	return s
}

// NoHeader declares the first row of each file to be data, and sets the column names. Without
// names, the columns are the fields of the struct in order. For []string, they are all cells of a
// row, named 1, 2 and so on.
func (s Source[T]) NoHeader(columns ...string) Source[T] {
	s.noHeader, s.names = true, columns
	return s
}

// Columns selects the columns of a []string, in the given order. It is refused for structs.
func (s Source[T]) Columns(names ...string) Source[T] {
	s.columns = names
	return s
}

// NoQuotes treats quotes as ordinary bytes, as many tab-separated files do. Every line is then a
// row.
func (s Source[T]) NoQuotes() Source[T] {
	s.noQuotes = true
	return s
}

// NoLineFeeds promises that no quoted cell contains a line feed. Splits then cuts files without
// reading them first. A cell with a line feed fails the job.
func (s Source[T]) NoLineFeeds() Source[T] {
	s.noFeeds = true
	return s
}

// String returns the source and its options, such as csvio.Rows[Product]("p/*.csv").Comma(';').
func (s Source[T]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "csvio.Rows[%v](%s)", reflect.TypeFor[T](), files.QuoteAll(s.patterns))
	if s.comma != ',' {
		fmt.Fprintf(&b, ".Comma(%q)", s.comma)
	}
	if s.noHeader {
		fmt.Fprintf(&b, ".NoHeader(%s)", files.QuoteAll(s.names))
	}
	if len(s.columns) > 0 {
		fmt.Fprintf(&b, ".Columns(%s)", files.QuoteAll(s.columns))
	}
	if s.noQuotes {
		b.WriteString(".NoQuotes()")
	}
	if s.noFeeds {
		b.WriteString(".NoLineFeeds()")
	}
	return b.String()
}

// Header returns the column names of the first file with content. It returns an error when all
// files are empty.
func (s Source[T]) Header(ctx context.Context) ([]string, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	fs, err := files.ExpandText(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	for _, f := range fs {
		if f.Size > 0 {
			return s.header(ctx, f)
		}
	}
	return nil, errNoHeader(fs)
}

// errNoHeader is the error for files without a header.
func errNoHeader(fs []files.File) error {
	if len(fs) > 1 {
		return fmt.Errorf("%s and %s: they are empty, so they have no header; write one, or use NoHeader", fs[0].Path, report.Plural(len(fs)-1, "other file"))
	}
	return fmt.Errorf("%s: the file is empty, so it has no header; write one, or use NoHeader", fs[0].Path)
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

// description is the content of a split's Data.
type description struct {
	Slices []files.Slice `json:"slices"`
	// Headers are the headers of the slices. The first one is the header of the first file.
	Headers [][]string `json:"headers"`
	// Use is the index in Headers for each slice, or -1 for an empty file.
	Use []int `json:"use"`
}

// Splits reads the headers and cuts the files between rows. A missing column is an error with the
// file, the field and the header.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	fs, err := files.ExpandText(ctx, s.patterns)
	if err != nil {
		return nil, err
	}
	headers, err := s.headers(ctx, fs)
	if err != nil {
		return nil, err
	}
	cuts, err := csvcodec.Cuts(ctx, fs, target, s.comma, s.quote(), s.noFeeds)
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
		whole, err := files.WholeFile(ctx, f)
		if err != nil {
			return nil, err
		}
		use[whole.Path] = n
	}
	if len(distinct) == 0 && !s.noHeader {
		if files.Skips(ctx) { // others have a header
			return nil, nil
		}
		return nil, errNoHeader(fs)
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
	return files.Convert[connector.Split](splits, nil)
}

// describe returns the description of a split: its slices, and the headers that they need. use maps
// a path to its header.
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

// quote returns the quote for package csvcodec.
func (s Source[T]) quote() byte {
	if s.noQuotes {
		return 0
	}
	return '"'
}

// headers reads the header of every file.
func (s Source[T]) headers(ctx context.Context, fs []files.File) ([][]string, error) {
	headers := make([][]string, len(fs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(machine.Processors())
	for i, f := range fs {
		group.Go(func() (err error) {
			headers[i], err = s.header(ctx, f)
			return err
		})
	}
	return headers, group.Wait()
}

// header returns the column names of one file, or nil when the file is empty.
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
	whole, err := files.WholeFile(ctx, f)
	if err != nil {
		return nil, err
	}
	p := csvcodec.New(s.comma, s.quote(), 0)
	err = files.Exact(ctx, whole, func(c files.Chunk, last bool) (int, error) {
		p.Reset(c.Data, last)
		for from := 0; from < len(c.Data); {
			next, err := p.Row(from)
			switch {
			case errors.Is(err, csvcodec.ErrMore) && len(c.Data) < maxHeader:
				return from, nil
			case errors.Is(err, csvcodec.ErrMore):
				err = fmt.Errorf("no end within %d bytes", maxHeader)
				fallthrough
			case err != nil:
				if text := bytes.TrimLeft(c.Data, " \t\r\n"); len(text) > 0 && (text[0] == '{' || text[0] == '[') {
					return 0, fmt.Errorf("%s: the header cannot be read, and the file looks like JSON; read it with package jsonio", f.Path)
				}
				return 0, fmt.Errorf("%s: the header cannot be read: %w", f.Path, err)
			}
			if p.N > 0 {
				p = csvcodec.New(s.comma, s.quote(), p.N)
				p.Reset(c.Data, last)
				if _, err := p.Row(from); err != nil {
					return 0, err
				}
				for i := range p.N {
					name := strings.Clone(p.Text(i))
					if !s.noHeader && strings.Contains(strings.ReplaceAll(name, "\r\n", ""), "\r") {
						return 0, files.CRError(f.Path)
					}
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

// maxHeader limits the bytes of a header. Without a limit, an unclosed quote would make it read the
// whole file.
const maxHeader = 4 << 20
