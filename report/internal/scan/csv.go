package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/csvcodec"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

func indexByte(b []byte, c byte) int { return bytes.IndexByte(b, c) }

// csvData is the content of a split's Data: slices, and the columns of their files.
type csvData struct {
	Slices []files.Slice `json:"slices"`
	// Headers are the distinct columns of files, and Use is the index in Headers for each slice, or
	// -1 for an empty file.
	Headers [][]string `json:"headers"`
	Use     []int      `json:"use"`
}

// csvSplits reads the header of every file, and cuts the files between rows.
func (s *source) csvSplits(ctx context.Context, fs []files.File, target int64) ([]connector.Split, error) {
	d := s.t.Dialect
	headers := make([][]string, len(fs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(max(8, machine.Processors()))
	for i, f := range fs {
		group.Go(func() (err error) {
			headers[i], err = d.readHeader(groupCtx, f)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	cuts := make([][]int64, len(fs))
	if d.Comment == "" && d.Skip == 0 { // what is skipped may have quotes
		var err error
		if cuts, err = csvcodec.Cuts(ctx, fs, target, d.Delim[0], d.quote(), !d.Multiline); err != nil {
			return nil, err
		}
	}
	use := map[string][]string{} // by path
	for i, f := range fs {
		whole, err := files.WholeFile(ctx, f)
		if err != nil {
			return nil, err
		}
		use[whole.Path] = headers[i]
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
		data := csvData{Slices: slices}
		known := map[string]int{}
		for _, sl := range slices {
			header := use[sl.Path]
			if header == nil {
				data.Use = append(data.Use, -1)
				continue
			}
			key := strings.Join(header, "\x00")
			n, ok := known[key]
			if !ok {
				n = len(data.Headers)
				known[key] = n
				data.Headers = append(data.Headers, header)
			}
			data.Use = append(data.Use, n)
		}
		if splits[i].Data, err = json.Marshal(data); err != nil {
			return nil, err
		}
	}
	return files.Convert[connector.Split](splits, nil)
}

// maxHeader limits the bytes of a header. Without a limit, an unclosed quote would make it read the
// whole file.
const maxHeader = 4 << 20

// readHeader returns the columns of a file, or nil if it is empty.
func (d *Dialect) readHeader(ctx context.Context, f files.File) (names []string, err error) {
	if f.Size == 0 {
		return nil, nil
	}
	if !d.Header {
		return d.Names, nil
	}
	whole, err := files.WholeFile(ctx, f)
	if err != nil {
		return nil, err
	}
	err = files.Exact(ctx, whole, func(c files.Chunk, last bool) (int, error) {
		var bad error
		found := false
		d.eachRow(c.Data, last, maxCells, func(p *csvcodec.Parser, err error) bool {
			found = true
			if bad = err; err == nil {
				names = d.rename(headerNames(cells(p, maxCells)))
			}
			return false
		})
		switch {
		case bad != nil:
			return 0, fmt.Errorf("%s: the header cannot be read: %w", f.Path, bad)
		case found || last:
			return len(c.Data), files.ErrStop
		case len(c.Data) > maxHeader:
			return 0, fmt.Errorf("%s: the header cannot be read: no end within %d bytes", f.Path, maxHeader)
		}
		return 0, nil
	})
	return names, err
}

// csvReader reads the rows of slices into batches.
type csvReader struct {
	s       *source
	r       *connector.Reader[vec.Batch]
	d       *Dialect
	parser  *csvcodec.Parser
	keep    arena.Arena
	fillers []*filler // in the order of s.columns; nil for columns of the file
	file    fileColumns
	cells   []cell // of the current slice, by position
	header  []string
	at      place
	n       int
	isFirst bool // the next row is the header of the file
	slice   files.Slice

	lines, offset int64 // of row 0 of the batch
	rowLines      [vec.Size]int64
	where         func(row int) string
}

// cell connects a cell of a row with a column.
type cell struct {
	at, column int
	fill       *filler
	isText     bool
	isNumber   bool // in a notation of its own
}

// newFillers returns fillers for the columns, or nil for columns with one value for a file.
func (s *source) newFillers(keep *arena.Arena) (fillers []*filler) {
	for _, c := range s.columns {
		if s.t.ofFile(c.Name) {
			fillers = append(fillers, nil)
			continue
		}
		fillers = append(fillers, newFiller(c.Type, keep))
	}
	return fillers
}

func (s *source) readCSV(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	var data csvData
	if err := json.Unmarshal(split.Data, &data); err != nil || len(data.Use) != len(data.Slices) {
		return fmt.Errorf("split %s: its description cannot be read: %w", split.Label, err)
	}
	rd := &csvReader{s: s, r: r, d: s.t.Dialect, at: place{ctx: ctx}}
	rd.fillers, rd.file.s = s.newFillers(&rd.keep), s
	rd.where = func(row int) string { return rd.at.place(rd.at.chunk.Path, rd.rowLines[row]) }
	for _, f := range rd.fillers {
		if f == nil {
			continue
		}
		format := rd.d.TimestampFormat
		if f.typ.Kind == vec.Date {
			format = rd.d.DateFormat
		}
		if format != "" {
			f.layout, _ = newLayout(format) // checked by Resolve
		}
	}
	for i, sl := range data.Slices {
		if data.Use[i] < 0 || data.Use[i] >= len(data.Headers) {
			continue // an empty file
		}
		rd.enter(sl, data.Headers[data.Use[i]])
		if err := files.Exact(ctx, sl, rd.chunk); err != nil {
			return err
		}
		if r.Stopped() {
			return nil
		}
		if err := rd.flush(); err != nil && !errors.Is(err, files.ErrStop) {
			return err
		}
	}
	return nil
}

// enter begins a slice.
func (rd *csvReader) enter(sl files.Slice, header []string) {
	rd.header, rd.cells, rd.slice = header, rd.cells[:0], sl
	want := 0
	for i, c := range rd.s.columns {
		if rd.fillers[i] == nil {
			continue
		}
		if at := slices.Index(header, c.Name); at >= 0 {
			isText := c.Type.Kind == vec.Text || c.Type.Kind == vec.JSON
			rd.cells = append(rd.cells, cell{at, i, rd.fillers[i], isText, rd.d.hasNumbers() && c.Type.IsNumber()})
			want = max(want, at+1)
		} else {
			for row := range vec.Size {
				rd.fillers[i].setNull(row)
			}
		}
	}
	slices.SortFunc(rd.cells, func(a, b cell) int { return a.at - b.at })
	rd.parser = rd.d.parser(want)
	rd.isFirst = sl.Offset == 0
}

// chunk reads the rows of a chunk. It is the yield function of files.Exact.
func (rd *csvReader) chunk(c files.Chunk, last bool) (took int, err error) {
	r, p := rd.r, rd.parser
	p.Reset(c.Data, last)
	rd.at.enter(c)
	isStart := rd.isFirst
	if isStart {
		if took = rd.d.skip(c.Data, true); took == len(c.Data) && !last {
			return 0, nil
		}
		rd.at.lines += int64(rd.d.Skip)
	}
	rows := int64(0)
	for took < len(c.Data) {
		if n := rd.d.commentEnd(c.Data, took); n > took {
			if c.Data[n-1] != '\n' && !last {
				break
			}
			took = n
			rd.at.lines++
			continue
		}
		next, err := p.Row(took)
		if errors.Is(err, csvcodec.ErrMore) {
			if took == 0 && len(c.Data) >= files.MaxRecord {
				return 0, fmt.Errorf("%s:%d: a row longer than %d bytes; is a quote left open?", c.Path, rd.at.line(rd.at.lines), files.MaxRecord)
			}
			if rd.isFirst { // the lines to skip come again
				rd.at.lines = 0
				return 0, nil
			}
			break
		}
		switch {
		case err != nil && rd.isCut(err):
			return 0, fmt.Errorf("%s:%d: a cell with line feeds lies across parts of the file; read it as read_csv('…', multiline=true)", c.Path, rd.at.line(rd.at.lines))
		case err != nil:
			err = rd.bad(c, took, next, func(where string) error { return rd.nameColumn(where, err) })
		case p.N == 0 && (rd.isFirst || len(rd.header) != 1): // a blank line; of one column, it is NULL
		case rd.isFirst && rd.d.Header:
			rd.isFirst = false
		case p.N != len(rd.header) && p.N > 0 && !(rd.d.Pad && p.N < len(rd.header)):
			rd.isFirst = false
			err = rd.bad(c, took, next, func(where string) error {
				return fmt.Errorf("%s: the row has %s, and not %d; is a separator not quoted, or one missing?", where, report.Plural(p.N, "cell"), len(rd.header))
			})
		default:
			rd.isFirst = false
			rd.rowLines[rd.n] = rd.at.lines
			if rd.n == 0 {
				rd.lines, rd.offset = rd.at.lineOrNone(rd.at.lines), c.Offset+int64(took)
			}
			if wrong := rd.row(p); wrong >= 0 {
				err = rd.bad(c, took, next, func(where string) error {
					f := rd.s.columns[rd.cells[wrong].column]
					return rd.s.wrongText(where, f.Name, p.Text(rd.cells[wrong].at), f.Type)
				})
				break
			}
			rows++
			if rd.n++; rd.n == vec.Size {
				err = rd.flush()
			}
		}
		if err != nil {
			return 0, err
		}
		took = next
		rd.at.lines += int64(p.Feeds)
	}
	r.Add(rows, int64(took))
	return took, nil
}

// isCut reports whether a row cannot be read because the slice ends inside of its cell. The first
// slice begins with a row. So either all slices do, or one of them ends inside of a cell.
func (rd *csvReader) isCut(err error) bool {
	var e *csvcodec.RowError
	return rd.slice.Length >= 0 && !rd.d.Multiline && errors.As(err, &e) && e.Column < 0
}

// row stores the current row of the parser in the batch. It returns the index of a cell that does
// not fit its column, or -1.
func (rd *csvReader) row(p *csvcodec.Parser) (wrong int) {
	n := rd.n
	for i := range rd.cells {
		c := &rd.cells[i]
		if c.at >= p.N {
			c.fill.setNull(n)
			continue
		}
		text := p.Text(c.at)
		if text == "" || rd.d.Nulls != nil {
			if quoted := p.Quoted(c.at); !quoted && rd.d.isNull(text) || text == "" && !c.isText {
				c.fill.setNull(n)
				continue
			}
		}
		if c.isNumber {
			var ok bool
			if text, ok = rd.d.number(text); !ok {
				return i
			}
		}
		if !c.fill.set(n, text) {
			return i
		}
	}
	return -1
}

// bad reports the current row, which ends at next, as malformed.
func (rd *csvReader) bad(c files.Chunk, from, next int, describe func(where string) error) error {
	r := rd.r
	r.Path, r.Line, r.Offset = c.Path, rd.at.line(rd.at.lines), c.Offset+int64(from)
	return r.Bad(describe(fmt.Sprintf("%s:%d", c.Path, r.Line)), bytes.Clone(c.Data[from:next]))
}

// nameColumn adds the column to the error of a malformed row.
func (rd *csvReader) nameColumn(where string, err error) error {
	var e *csvcodec.RowError
	if errors.As(err, &e) && e.Column >= 0 && e.Column < len(rd.header) {
		return fmt.Errorf("%s: column %q: %s", where, rd.header[e.Column], e.Problem)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// flush emits the batch.
func (rd *csvReader) flush() error {
	n := rd.n
	if n == 0 {
		return nil
	}
	b := vec.Batch{N: n, Path: rd.at.chunk.Path, Line: rd.lines, Offset: rd.offset, Where: rd.where}
	for i, f := range rd.fillers {
		if f == nil {
			b.Cols = append(b.Cols, rd.file.column(i, b.Path, n))
		} else {
			b.Cols = append(b.Cols, f.vec(n))
		}
	}
	rd.r.Path, rd.r.Line, rd.r.Offset = b.Path, 0, b.Offset // the line of an error in the batch is not known
	rd.r.Emit(&b)
	rd.n = 0
	rd.keep.Reset()
	for _, c := range rd.cells {
		c.fill.reset()
	}
	if rd.r.Stopped() {
		return files.ErrStop
	}
	return nil
}
