package csvio

import (
	"context"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/intfield"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink has the methods that do not depend on the records.
type sink = files.Sink

// Sink writes rows to CSV files. It is a connector.Sink[T], made by Write and its variants. Its
// methods return changed copies.
type Sink[T any] struct {
	sink
	comma    byte
	noHeader bool
	// header contains the column names of a []string.
	header []string
}

var (
	_ connector.Sink[[]string] = Sink[[]string]{}
	_ connector.PlacedSink     = Sink[[]string]{}
	_ connector.PublishedSink  = Sink[[]string]{}
)

// Write returns a sink for dir/part-00000.csv, dir/part-00001.csv and so on: one file per task,
// each with a header. T is a struct, or []string for plain cells. The job writes dir/manifest.json
// last, to mark the output as complete.
//
// The directory must be new, empty, or contain the output of an earlier job, which is replaced.
func Write[T any](dir string) Sink[T] {
	return Sink[T]{sink: files.NewSink(fmt.Sprintf("csvio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "csv"}), comma: ','}
}

// WriteFile returns a sink for a single file, with the rows in task order and one header. A suffix
// .gz or .zst in the path compresses the file. An existing file is replaced when the job is done.
func WriteFile[T any](path string) Sink[T] {
	out := &files.One{Path: path, Compress: files.BySuffix(path)}
	return Sink[T]{sink: files.NewSink(fmt.Sprintf("csvio.WriteFile(%q)", path), out), comma: ','}
}

// WriteTSV is Write with tabs between cells. The files are dir/part-00000.tsv and so on.
func WriteTSV[T any](dir string) Sink[T] {
	return Sink[T]{sink: files.NewSink(fmt.Sprintf("csvio.WriteTSV(%q)", dir), &files.Dir{Path: dir, Ext: "tsv"}), comma: '\t'}
}

// WriteTSVFile is WriteFile with tabs between cells.
func WriteTSVFile[T any](path string) Sink[T] {
	s := WriteFile[T](path)
	s.sink, s.comma = files.RenameSink(s.sink, fmt.Sprintf("csvio.WriteTSVFile(%q)", path)), '\t'
	return s
}

// Comma sets the byte between cells, such as ';'. See Source.Comma for the bytes refused.
func (s Sink[T]) Comma(c byte) Sink[T] {
	s.sink, s.comma = files.RenameSink(s.sink, fmt.Sprintf("%s.Comma(%q)", s, c)), c
	return s
}

// NoHeader omits the row of column names.
func (s Sink[T]) NoHeader() Sink[T] {
	s.sink, s.noHeader = files.RenameSink(s.sink, s.String()+".NoHeader()"), true
	return s
}

// Header sets the column names of a []string. Without it no header is written. Every row must have
// as many cells as the header. It is refused for structs.
func (s Sink[T]) Header(columns ...string) Sink[T] {
	s.sink, s.header = files.RenameSink(s.sink, fmt.Sprintf("%s.Header(%s)", s, files.QuoteAll(columns))), columns
	return s
}

// Gzip compresses the files with gzip.
func (s Sink[T]) Gzip() Sink[T] {
	s.sink = files.CompressSink(s.sink, "Gzip", files.Gzip)
	return s
}

// Zstd compresses the files with zstd, which is faster than gzip and makes smaller files.
func (s Sink[T]) Zstd() Sink[T] {
	s.sink = files.CompressSink(s.sink, "Zstd", files.Zstd)
	return s
}

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.sink = files.SizeSink(s.sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.csv. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.sink = files.FolderSink(s.sink, name, value)
	return s
}

// Check creates the directory. It returns an error if T cannot be written, or if the directory
// contains other files.
func (s Sink[T]) Check(ctx context.Context) error {
	if _, _, err := s.compile(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return s.sink.Check(ctx)
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	head, row, err := s.compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return files.OpenSink(ctx, s.sink, files.Task(t), head, row)
}

// compile returns the header and the function that appends a row.
func (s Sink[T]) compile() (head []byte, row func([]byte, *T) ([]byte, error), err error) {
	if err := checkComma(s.comma); err != nil {
		return nil, nil, err
	}
	t, names := reflect.TypeFor[T](), s.header
	if t == stringsType {
		row = func(dst []byte, r *T) ([]byte, error) {
			cells := *any(r).(*[]string)
			if len(cells) == 0 || len(s.header) > 0 && len(cells) != len(s.header) {
				return dst, fmt.Errorf("%s: a row of %s, under a header of %d", s, report.Plural(len(cells), "cell"), len(s.header))
			}
			return appendRow(dst, cells, s.comma), nil
		}
	} else {
		if len(s.header) > 0 {
			return nil, nil, fmt.Errorf("Header is for []string; the fields of %v name the columns", t)
		}
		columns, err := columnsOf(t)
		if err != nil {
			return nil, nil, err
		}
		encoders := make([]encoder, len(columns))
		for i := range columns {
			if encoders[i], err = columns[i].encoder(s.comma); err != nil {
				return nil, nil, err
			}
			names = append(names, columns[i].name)
		}
		row = func(dst []byte, r *T) (_ []byte, err error) {
			start := len(dst)
			for i := range columns {
				if i > 0 {
					dst = append(dst, s.comma)
				}
				if dst, err = encoders[i](dst, unsafe.Add(unsafe.Pointer(r), columns[i].offset)); err != nil {
					return dst[:start], fmt.Errorf("field %s: %w", columns[i].field, err)
				}
			}
			return endRow(dst, start), nil
		}
	}
	if !s.noHeader && len(names) > 0 {
		head = appendRow(nil, names, s.comma)
	}
	return head, row, nil
}

func appendRow(dst []byte, cells []string, comma byte) []byte {
	start := len(dst)
	for i, c := range cells {
		if i > 0 {
			dst = append(dst, comma)
		}
		dst = appendText(dst, c, comma)
	}
	return endRow(dst, start)
}

// endRow ends the row that starts at start. It quotes a single empty cell, because a blank line is
// not a row.
func endRow(dst []byte, start int) []byte {
	if len(dst) == start {
		dst = append(dst, `""`...)
	}
	return append(dst, '\n')
}

// appendText appends a cell. It adds quotes where encoding/csv does.
func appendText(dst []byte, s string, comma byte) []byte {
	if s == "" {
		return dst
	}
	quote := s == `\.`
	for i := 0; i < len(s) && !quote; i++ {
		c := s[i]
		quote = c == comma || c == '"' || c == '\n' || c == '\r'
	}
	if !quote {
		first, _ := utf8.DecodeRuneInString(s)
		if !unicode.IsSpace(first) {
			return append(dst, s...)
		}
	}
	dst = append(dst, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		dst = append(append(dst, s[:i+1]...), '"')
		s = s[i+1:]
	}
	return append(append(dst, s...), '"')
}

// An encoder appends the cell of a field.
type encoder func(dst []byte, field unsafe.Pointer) ([]byte, error)

// encoder returns an encoder for the column. It returns an error when the field's type cannot be
// written to a cell.
func (c *column) encoder(comma byte) (encoder, error) {
	e, err := c.encoderOf(c.typ, comma)
	if err != nil || !c.omitempty {
		return e, err
	}
	return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
		if reflect.NewAt(c.typ, field).Elem().IsZero() {
			return dst, nil
		}
		return e(dst, field)
	}, nil
}

func (c *column) encoderOf(t reflect.Type, comma byte) (encoder, error) {
	switch {
	case t.Kind() == reflect.Pointer && t.Elem().Kind() != reflect.Pointer:
		e, err := c.encoderOf(t.Elem(), comma)
		if err != nil {
			return nil, err
		}
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			if p := *(*unsafe.Pointer)(field); p != nil {
				return e(dst, p)
			}
			return dst, nil
		}, nil
	case t == timeType:
		layout := c.layout
		if layout == "" {
			layout = time.RFC3339Nano
		}
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return appendText(dst, (*time.Time)(field).Format(layout), comma), nil
		}, nil
	case reflect.PointerTo(t).Implements(marshalerType):
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			text, err := reflect.NewAt(t, field).Interface().(encoding.TextMarshaler).MarshalText()
			return appendText(dst, string(text), comma), err
		}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return appendText(dst, *(*string)(field), comma), nil
		}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		load := intfield.LoadInt(t)
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			if n := load(field); n < 0 {
				return appendDecimal(append(dst, '-'), -uint64(n), c.decimals), nil
			}
			return appendDecimal(dst, uint64(load(field)), c.decimals), nil
		}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		load := intfield.LoadUint(t)
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return appendDecimal(dst, load(field), c.decimals), nil
		}, nil
	case reflect.Float64:
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return appendFloat(dst, *(*float64)(field), 64), nil
		}, nil
	case reflect.Float32:
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return appendFloat(dst, float64(*(*float32)(field)), 32), nil
		}, nil
	case reflect.Bool:
		return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
			return strconv.AppendBool(dst, *(*bool)(field)), nil
		}, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return func(dst []byte, field unsafe.Pointer) ([]byte, error) {
				return appendText(dst, string(*(*[]byte)(field)), comma), nil
			}, nil
		}
	}
	return nil, fmt.Errorf("field %s %v cannot be written to a cell; give it a MarshalText method, or leave it out with csv:\"-\"", c.field, t)
}

// appendDecimal appends n / 10^decimals with all its decimals.
func appendDecimal(dst []byte, n uint64, decimals int) []byte {
	if decimals <= 0 {
		return strconv.AppendUint(dst, n, 10)
	}
	power := uint64(1)
	for range decimals {
		power *= 10
	}
	dst = append(strconv.AppendUint(dst, n/power, 10), '.')
	for n %= power; power > 1; {
		power /= 10
		dst = append(dst, '0'+byte(n/power))
		n %= power
	}
	return dst
}

// appendFloat appends the shortest text that parses as f. Very large and very small numbers get an
// exponent.
func appendFloat(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}
