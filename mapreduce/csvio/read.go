package csvio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/csvcodec"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Read emits the rows of one split. Malformed rows go to r.Bad.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	var d description
	if err := json.Unmarshal(split.Data, &d); err != nil || len(d.Use) != len(d.Slices) {
		return fmt.Errorf("split %s: its description cannot be read: %w", split.Label, err)
	}
	for i, sl := range d.Slices {
		if d.Use[i] < 0 || d.Use[i] >= len(d.Headers) {
			continue // an empty file
		}
		header := d.Headers[d.Use[i]]
		dec, err := newRowDecoder[T](s, header, d.Headers[0])
		if err != nil {
			return fmt.Errorf("%s: %w", sl.Path, err)
		}
		rd := sliceReader[T]{
			ctx:          ctx,
			reader:       r,
			slice:        sl,
			parser:       csvcodec.New(s.comma, s.quote(), dec.want),
			dec:          dec,
			header:       header,
			isHeaderNext: !s.noHeader && sl.Offset == 0,
			source:       &s,
		}
		if sl.Offset == 0 {
			rd.line = 1
		}
		if err := files.Exact(ctx, sl, rd.chunk); err != nil {
			return err
		}
		if r.Stopped() {
			return nil
		}
	}
	return nil
}

// A sliceReader reads the rows of one slice.
type sliceReader[T any] struct {
	ctx          context.Context
	reader       *connector.Reader[T]
	slice        files.Slice
	parser       *csvcodec.Parser
	dec          *rowDecoder[T]
	header       []string
	isHeaderNext bool // the next row that is not blank is the header
	source       *Source[T]

	// line is the line number of the current row. It is 0 when not known: the slice starts within
	// the file and no row of it was malformed so far.
	line  int64
	feeds int64 // line feeds of the slice before the current row
	row   T
}

// chunk reads the rows of a chunk. It is the yield function of files.Exact.
func (rd *sliceReader[T]) chunk(c files.Chunk, last bool) (took int, err error) {
	r, p := rd.reader, rd.parser
	p.Reset(c.Data, last)
	r.Path = c.Path
	rows := int64(0)
	for took < len(c.Data) {
		next, err := p.Row(took)
		if errors.Is(err, csvcodec.ErrMore) {
			if took == 0 && len(c.Data) >= files.MaxRecord {
				return 0, fmt.Errorf("%s:%d: a row longer than %d bytes; is a quote left open?", c.Path, rd.lineNumber(), files.MaxRecord)
			}
			break
		}
		if r.Stopped() {
			return 0, files.ErrStop
		}
		r.Offset, r.Line = c.Offset+int64(took), rd.line
		switch {
		case err != nil:
			err = rd.reportBad(rd.nameColumn(err), c.Data[took:next])
		case p.N == 0: // a blank line
		case rd.isHeaderNext:
			rd.isHeaderNext = false
		case p.N != len(rd.header):
			err = rd.reportBad(fmt.Errorf("the row has %s, the header has %d; is a separator not quoted, or one missing?", report.Plural(p.N, "cell"), len(rd.header)), c.Data[took:next])
		case p.Feeds > 1 && rd.source.noFeeds:
			return 0, fmt.Errorf("%s:%d: a cell contains a line feed; remove the option NoLineFeeds", c.Path, rd.lineNumber())
		default:
			if err = rd.dec.decode(p, &rd.row); err != nil {
				err = rd.reportBad(err, c.Data[took:next])
				break
			}
			rows++
			r.Emit(&rd.row)
		}
		if err != nil {
			return 0, err
		}
		took = next
		rd.feeds += int64(p.Feeds)
		if rd.line > 0 {
			rd.line += int64(p.Feeds)
		}
	}
	r.Add(rows, int64(took))
	return took, nil
}

// lineNumber returns the line number of the current row, or 0 when the file cannot be read again to
// count lines.
func (rd *sliceReader[T]) lineNumber() int64 {
	if rd.line == 0 {
		base, err := files.LineOf(rd.ctx, rd.slice.Path, rd.slice.Codec, rd.slice.Offset)
		if err != nil {
			return 0
		}
		rd.line = base + rd.feeds
	}
	return rd.line
}

// reportBad reports the current row as malformed.
func (rd *sliceReader[T]) reportBad(err error, raw []byte) error {
	r := rd.reader
	r.Line = rd.lineNumber()
	return r.Bad(fmt.Errorf("%s:%d: %w", r.Path, r.Line, err), bytes.Clone(raw))
}

// nameColumn adds the column name to a RowError.
func (rd *sliceReader[T]) nameColumn(err error) error {
	var e *csvcodec.RowError
	if !errors.As(err, &e) {
		return err
	}
	if e.Column < 0 || e.Column >= len(rd.header) {
		return errors.New(e.Problem)
	}
	return fmt.Errorf("column %q: %s", rd.header[e.Column], e.Problem)
}

// A rowDecoder converts a row to a record.
type rowDecoder[T any] struct {
	want  int // cells of a row that may be needed
	cells []cell
	// For a []string: the positions of its cells in a row.
	order []int
	// For a []string: free space for the next rows.
	slab  []string
	arena arena.Arena
}

// cell connects the cell at position at to a field.
type cell struct {
	at     int
	offset uintptr
	decode decoder
	column *column
	name   string
}

// newRowDecoder returns a decoder from rows with the given header to T. first is the header of the
// first file.
func newRowDecoder[T any](s Source[T], header, first []string) (*rowDecoder[T], error) {
	d := &rowDecoder[T]{}
	t := reflect.TypeFor[T]()
	if t == stringsType {
		return d, d.choose(header, first, s.columns)
	}
	columns, err := columnsOf(t)
	if err != nil {
		return nil, err
	}
	for i := range columns {
		c := &columns[i]
		at, err := c.find(header)
		if err != nil {
			return nil, err
		}
		decode, err := c.decoder(&d.arena)
		if err != nil {
			return nil, err
		}
		if at < 0 && !c.optional {
			return nil, fmt.Errorf("no column %q for field %s; the columns are %s; name the right one with a csv tag, or tag the field csv:\",optional\"",
				c.name, c.field, files.QuoteAll(header))
		}
		if at >= 0 {
			d.cells = append(d.cells, cell{at, c.offset, decode, c, header[at]})
			d.want = max(d.want, at+1)
		}
	}
	slices.SortFunc(d.cells, func(a, b cell) int { return a.at - b.at })
	return d, nil
}

// choose selects the cells of a []string: the given names, or the columns of the first file.
func (d *rowDecoder[T]) choose(header, first, names []string) error {
	if len(names) == 0 {
		names = first
		if len(header) != len(first) {
			return fmt.Errorf("%s, where the first file has %d: %s; use Columns to choose columns of all files", report.Plural(len(header), "column"), len(first), files.QuoteAll(first))
		}
	}
	for i, name := range names {
		at := slices.Index(header, name)
		if slices.Equal(names, header) {
			at = i
		} else if at >= 0 && slices.Contains(header[at+1:], name) {
			return fmt.Errorf("two columns are named %q; rename one", name)
		}
		if at < 0 {
			return fmt.Errorf("no column %q; the columns are %s", name, files.QuoteAll(header))
		}
		d.order = append(d.order, at)
		d.want = max(d.want, at+1)
	}
	return nil
}

// decode decodes the parser's current row into out.
func (d *rowDecoder[T]) decode(p *csvcodec.Parser, out *T) error {
	if d.order != nil {
		if len(d.slab) < len(d.order) {
			d.slab = make([]string, len(d.order)*max(1, 4096/len(d.order)))
		}
		row := d.slab[:len(d.order):len(d.order)]
		d.slab = d.slab[len(d.order):]
		for i, at := range d.order {
			row[i] = d.arena.Keep(p.Text(at))
		}
		*any(out).(*[]string) = row
		return nil
	}
	*out = *new(T)
	base := unsafe.Pointer(out)
	for i := range d.cells {
		c := &d.cells[i]
		text := p.Text(c.at)
		if err := c.decode(unsafe.Add(base, c.offset), text); err != nil {
			if len(text) > 60 {
				text = text[:60] + "…"
			}
			return fmt.Errorf("column %q, field %s %v: %q: %w", c.name, c.column.field, c.column.typ, text, err)
		}
	}
	return nil
}
