package scan

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/stanza"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// formatOfText returns the format of a text by its content: json, log, stanza, csv or text.
func formatOfText(s sample) string {
	text := bytes.TrimLeft(s.head, " \t\r\n")
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		probe, records := shape{}, 0
		eachDocument(s.head, s.whole, func(record []byte) bool {
			probe.addLine(record)
			records++
			return records < 20
		})
		if probe.objects+probe.lists+probe.ints+probe.decimals+probe.texts > 0 {
			return "json"
		}
	}
	rows, logs, keys, others := 0, 0, 0, 0
	lines([]sample{s}, 100, func(line []byte) {
		switch {
		case len(line) == 0 || line[0] == '#':
			return
		case stanza.KeyOf(line) > 0:
			keys++
		case line[0] != ' ' && line[0] != '\t':
			others++
		}
		rows++
		var fields [logFields]string
		if cutLog(string(line), &fields) {
			logs++
		}
	})
	var d Dialect
	d.sniff(s, false)
	share, cells := d.score(s)
	switch {
	case rows == 0:
		return "text"
	case logs*10 >= rows*8:
		return "log"
	case keys > 0 && others == 0 && (share < 0.9 || d.Delim != "\t"):
		return "stanza"
	case cells >= 2 && share >= 0.8 && rows > 1:
		return "csv"
	}
	if strings.HasSuffix(strings.ToLower(s.file.Path), ".csv") {
		return "csv"
	}
	return "text"
}

// noOptions refuses options of a format that has none.
func (t *Table) noOptions() error {
	for name := range t.Options {
		return fmt.Errorf("option %q: format %s has no options", name, t.Format)
	}
	return nil
}

// resolveText resolves lines of text: one column.
func resolveText(_ context.Context, t *Table, _ []sample, _ int) error {
	t.Columns = []vec.Field{{Name: "line", Type: vec.Of(vec.Text)}}
	return t.noOptions()
}

// logColumns are the columns of a log of a web server, in the common or the combined format.
var logColumns = []vec.Field{
	{Name: "ip", Type: vec.Of(vec.Text)}, {Name: "ident", Type: vec.Of(vec.Text)}, {Name: "user", Type: vec.Of(vec.Text)},
	{Name: "time", Type: vec.Of(vec.TimestampTZ)}, {Name: "method", Type: vec.Of(vec.Text)}, {Name: "path", Type: vec.Of(vec.Text)},
	{Name: "protocol", Type: vec.Of(vec.Text)}, {Name: "status", Type: vec.Of(vec.Int)}, {Name: "bytes", Type: vec.Of(vec.Int)},
	{Name: "referer", Type: vec.Of(vec.Text)}, {Name: "agent", Type: vec.Of(vec.Text)},
}

const logFields = 11

// resolveLog resolves logs of web servers.
func resolveLog(_ context.Context, t *Table, _ []sample, _ int) error {
	t.Columns = logColumns
	return t.noOptions()
}

// cutLog cuts a line of a log into fields; a field that is - is empty. It returns false if the line
// has another format. Escaped quotes in quoted fields stay escaped.
func cutLog(line string, f *[logFields]string) bool {
	var ok bool
	rest := line
	word := func() (w string) {
		w, rest, ok = strings.Cut(rest, " ")
		return w
	}
	quoted := func() (q string) {
		if ok = strings.HasPrefix(rest, `"`); !ok {
			return ""
		}
		for i := 1; i < len(rest); i++ {
			if rest[i] == '\\' {
				i++
			} else if rest[i] == '"' {
				q, rest = rest[1:i], strings.TrimPrefix(rest[i+1:], " ")
				return q
			}
		}
		ok = false
		return ""
	}
	for i := range 3 {
		if f[i] = word(); !ok {
			return false
		}
	}
	// a user may have blanks
	for !strings.HasPrefix(rest, "[") {
		more := word()
		if !ok {
			return false
		}
		f[2] += " " + more
	}
	if f[3], rest, ok = strings.Cut(rest[1:], "] "); !ok {
		return false
	}
	request := quoted()
	if !ok {
		return false
	}
	f[4], f[5], f[6] = "", request, ""
	if method, path, ok := strings.Cut(request, " "); ok {
		f[4], f[5] = method, path
		if n := strings.LastIndexByte(path, ' '); n >= 0 {
			f[5], f[6] = path[:n], path[n+1:]
		}
	}
	if f[7] = word(); !ok {
		return false
	}
	f[8], rest, _ = strings.Cut(rest, " ")
	f[9], f[10] = "", ""
	if rest != "" {
		if f[9] = quoted(); ok && rest != "" {
			f[10] = quoted()
		}
		if !ok {
			return false
		}
	}
	for i := range f {
		if f[i] == "-" {
			f[i] = ""
		}
	}
	return len(f[7]) <= 3
}

// logLayout is the format of times in logs.
var logLayout, _ = newLayout("%d/%b/%Y:%H:%M:%S %z")

// textReader reads records of text into batches.
type textReader struct {
	s       *source
	r       *connector.Reader[vec.Batch]
	at      place
	path    string
	fillers []*filler // in the order of s.columns; nil for columns of the file
	fields  []int     // the index of each column in the fields of a record
	file    fileColumns
	n       int
	chunks  []files.Chunk // with the texts of the batch, unless keep has them
	keep    *arena.Arena  // copies of the texts, or nil

	line, offset int64 // of row 0 of the batch
	lines        [vec.Size]int64
	where        func(row int) string
}

// newTextReader returns a reader for records whose fields are the columns of the table.
func (s *source) newTextReader(ctx context.Context, r *connector.Reader[vec.Batch]) *textReader {
	t := &textReader{s: s, r: r, at: place{ctx: ctx}}
	t.fillers, t.file.s = s.newFillers(nil), s
	t.where = func(row int) string { return t.at.place(t.path, t.lines[row]) }
	for i, c := range s.columns {
		at := 0
		for k, f := range s.t.Columns {
			if f.Name == c.Name {
				at = k
			}
		}
		t.fields = append(t.fields, at)
		if s.t.Format == "log" && t.fillers[i] != nil && c.Name == "time" {
			t.fillers[i].layout = logLayout
		}
	}
	return t
}

// enter continues with a chunk.
func (t *textReader) enter(c files.Chunk) error {
	if c.Path != t.path {
		if err := t.flush(); err != nil {
			return err
		}
		t.path, t.chunks = c.Path, releaseAll(t.chunks)
	}
	t.at.enter(c)
	return nil
}

// row adds a record to the batch. An empty field is NULL if isNull reports so. lines and offset are
// the place of the record.
func (t *textReader) row(fields []string, isNull func(field int) bool, lines, offset int64, raw []byte) error {
	if t.n == 0 {
		t.line, t.offset = t.at.lineOrNone(lines), offset
	}
	t.lines[t.n] = lines
	for i, f := range t.fillers {
		if f == nil {
			continue
		}
		text := fields[t.fields[i]]
		if text == "" && isNull(t.fields[i]) {
			f.setNull(t.n)
		} else if !f.set(t.n, text) {
			return t.bad(lines, offset, raw, func(where string) error {
				return t.s.wrongText(where, t.s.columns[i].Name, text, f.typ)
			})
		}
	}
	if t.n++; t.n == vec.Size {
		return t.flush()
	}
	return nil
}

// bad reports a malformed record.
func (t *textReader) bad(lines, offset int64, raw []byte, describe func(where string) error) error {
	t.r.Path, t.r.Line, t.r.Offset = t.path, t.at.line(lines), offset
	return t.r.Bad(describe(fmt.Sprintf("%s:%d", t.path, t.r.Line)), raw)
}

// flush emits the batch.
func (t *textReader) flush() error {
	n := t.n
	if n == 0 {
		return nil
	}
	b := vec.Batch{N: n, Path: t.path, Line: t.line, Offset: t.offset, Where: t.where}
	for i, f := range t.fillers {
		if f == nil {
			b.Cols = append(b.Cols, t.file.column(i, t.path, n))
		} else {
			b.Cols = append(b.Cols, f.vec(n))
		}
	}
	t.r.Path, t.r.Line, t.r.Offset = b.Path, b.Line, b.Offset
	t.r.Emit(&b)
	t.n = 0
	if t.chunks = releaseRead(t.chunks); t.keep != nil {
		t.keep.Reset()
	}
	for _, f := range t.fillers {
		if f != nil {
			f.reset()
		}
	}
	if t.r.Stopped() {
		return files.ErrStop
	}
	return nil
}

// readText reads lines of text or of logs.
func (s *source) readText(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	t := s.newTextReader(ctx, r)
	isLog := s.t.Format == "log"
	var fields [logFields]string
	err := files.Chunks(ctx, jobSplit(split), '\n', func(c files.Chunk) error {
		if err := t.enter(c); err != nil {
			return err
		}
		t.chunks = append(t.chunks, c)
		if t.n == 0 {
			t.chunks = releaseRead(t.chunks)
		}
		rows := int64(0)
		for off := 0; off < len(c.Data); t.at.lines++ {
			line, next := c.Data[off:], len(c.Data)
			if n := bytes.IndexByte(line, '\n'); n >= 0 {
				line, next = line[:n], off+n+1
			}
			line = bytes.TrimSuffix(line, []byte{'\r'})
			text := unsafe.String(unsafe.SliceData(line), len(line))
			offset := c.Offset + int64(off)
			off = next
			var err error
			switch {
			case isLog && text == "":
				continue
			case !isLog:
				fields[0] = text
				err = t.row(fields[:1], func(int) bool { return false }, t.at.lines, offset, line)
			case cutLog(text, &fields):
				err = t.row(fields[:], func(int) bool { return true }, t.at.lines, offset, line)
			default:
				err = t.bad(t.at.lines, offset, line, func(where string) error {
					return fmt.Errorf(`%s: the line is not in the common or combined log format: %.80q; read it with read_text, or set bad lines aside with -bad`, where, text)
				})
			}
			if err != nil {
				return err
			}
			rows++
		}
		r.Add(rows, int64(len(c.Data)))
		return nil
	})
	if err != nil {
		return err
	}
	err = t.flush()
	if releaseAll(t.chunks); err != files.ErrStop {
		return err
	}
	return nil
}
