package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// source is a connector.Source of the wanted columns of a Table.
type source struct {
	t       *Table
	columns []vec.Field
	bounds  []Bound
	// extremes reports that only the least and the greatest value of each column matter.
	extremes bool
}

// String returns the paths and the wanted columns.
func (s *source) String() string {
	var names []string
	for _, c := range s.columns {
		names = append(names, c.Name)
	}
	if s.extremes {
		return fmt.Sprintf("%s(%s: statistics of %s)", s.t.Format, strings.Join(s.t.Paths, ", "), strings.Join(names, ", "))
	}
	return fmt.Sprintf("%s(%s: %s)", s.t.Format, strings.Join(s.t.Paths, ", "), strings.Join(names, ", "))
}

// Splits cuts the files into pieces of about target bytes.
func (s *source) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	fs, err := s.expand(ctx)
	if err != nil {
		return nil, err
	}
	switch s.t.Format {
	case "parquet":
		return files.Convert[connector.Split](parquetfile.Splits(ctx, fs, target, func(ctx context.Context, f files.File) ([]parquetfile.Piece, error) {
			groups, _, err := s.parquetGroups(ctx, f)
			return groups, err
		}))
	case "avro":
		return s.avroSplits(ctx, fs, target)
	case "csv", "tsv":
		return s.csvSplits(ctx, fs, target)
	case "stanza":
		return s.stanzaSplits(ctx, fs, target)
	}
	if s.t.Whole {
		splits, err := files.Convert[connector.Split](files.SplitsAt(ctx, fs, target, make([][]int64, len(fs))))
		for i := range splits {
			if splits[i].Note == "" && splits[i].Bytes > max(target, 64<<20) {
				splits[i].Note = "JSON that is not JSON Lines: cannot be cut"
			}
		}
		return splits, err
	}
	return files.Convert[connector.Split](files.Splits(ctx, fs, target))
}

// Read emits the batches of a split.
func (s *source) Read(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	switch s.t.Format {
	case "csv", "tsv":
		return s.readCSV(ctx, split, r)
	case "json":
		return s.readJSON(ctx, split, r)
	case "text", "log":
		return s.readText(ctx, split, r)
	case "stanza":
		return s.readStanza(ctx, split, r)
	case "avro":
		return s.readAvro(ctx, split, r)
	case "parquet":
		return s.readParquet(ctx, split, r)
	}
	return fmt.Errorf("format %q is not known", s.t.Format)
}

// place counts the lines of a split, for error messages. A split contains at most one contiguous
// range of each file.
type place struct {
	ctx context.Context
	// chunk is the first chunk of the current file, without Data.
	chunk files.Chunk
	// first is the number of the first line of that chunk; zero if not known.
	first int64
	// lines is the number of lines from there to the current line.
	lines int64
}

// enter continues with chunk c, and reports whether it is of another file.
func (p *place) enter(c files.Chunk) bool {
	if c.Path == p.chunk.Path {
		return false
	}
	*p = place{ctx: p.ctx, chunk: c}
	p.chunk.Data = nil
	if c.First {
		p.first = 1
	}
	return true
}

// line returns the number of the line that is lines after the first one. It is zero if the file
// cannot be read again, to count the lines before the split.
func (p *place) line(lines int64) int64 {
	if p.first == 0 {
		n, err := files.LineOf(p.ctx, p.chunk.Path, p.chunk.Codec, p.chunk.Offset)
		if err != nil {
			return 0
		}
		p.first = n
	}
	return p.first + lines
}

// place returns the place of a line for people.
func (p *place) place(path string, lines int64) string {
	return fmt.Sprintf("%s:%d", filesys.DisplayText(path), p.line(lines))
}

// lineOrNone is line, or zero if the file would have to be read again.
func (p *place) lineOrNone(lines int64) int64 {
	if p.first == 0 {
		return 0
	}
	return p.first + lines
}

// wrongText returns the error for a text that does not fit the type of its column.
func (s *source) wrongText(where, column, text string, typ vec.Type) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s: column %q: %.60q is not UTF-8; %s, or set bad rows aside with -bad N", where, column, text, s.t.encodingHint())
	}
	return s.misfit(where, column, fmt.Sprintf("%q", text), typ)
}

// misfit returns the error for a value that does not fit the type of its column. where is the file
// and the line.
func (s *source) misfit(where, column, value string, typ vec.Type) error {
	if len(value) > 60 {
		value = value[:60] + "…"
	}
	why := "was inferred from a sample"
	for _, d := range s.t.Declared {
		if d == column {
			why = "was given"
		}
	}
	better := "text"
	switch typ.Kind {
	case vec.Int, vec.Decimal:
		if _, ok := parseFloat(strings.Trim(value, `"`)); ok {
			better = "double"
		}
	case vec.Timestamp:
		if _, zoned, ok := parseTimestamp(strings.Trim(value, `"`)); ok && zoned {
			better = "timestamptz"
		}
	case vec.List, vec.Struct, vec.Map:
		better = "json"
	}
	return fmt.Errorf("%s: column %q: %s is not a valid %s, which %s; read the column with -types '%s=%s'", where, column, value, typ, why, column, better)
}

// jsonMisfit returns the error of a JSON record.
func (s *source) jsonMisfit(where string, err error) error {
	var e *jsoncodec.Error
	if !errors.As(err, &e) || e.Field == "" {
		return fmt.Errorf("%s: %w", where, err)
	}
	// a name may itself have dots, so the longest name that fits is the column
	var column vec.Field
	for _, c := range s.columns {
		if strings.HasPrefix(e.Field, c.Name) && len(c.Name) >= len(column.Name) {
			column = c
		}
	}
	isType := strings.HasPrefix(e.Want, "a number") || slices.Contains([]string{"an integer of 64 bits", "true or false", "an object", "an array"}, e.Want)
	if column.Name == "" || !isType || e.Found == "the end of the line" {
		return fmt.Errorf("%s: %w", where, err)
	}
	where += ": offset " + fmt.Sprint(e.Offset)
	if e.Field != column.Name {
		where += ": field " + e.Field
	}
	return s.misfit(where, column.Name, e.Found, column.Type)
}

// jobSplit converts a split to the type of package files.
func jobSplit(s connector.Split) job.Split { return job.Split(s) }
