// Package render writes the rows of a report as a table for a terminal, CSV, TSV, JSON, Markdown,
// HTML or Parquet.
//
// Rows may come from anywhere, so texts are data: a table shows control characters as \xHH, and
// HTML is escaped. CSV, TSV and JSON keep every byte that their format can hold.
package render

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Options are the options of all formats.
type Options struct {
	// Width is the number of columns of the terminal. Zero means no limit.
	Width int
	// MaxColumn is the most characters of a text in a table. Zero means no limit.
	MaxColumn int
	// Title is the heading of an HTML page: usually the statement.
	Title string
	// Comma separates the fields of csv and tsv; zero means the comma and the tab. NoHeader leaves
	// out their header.
	Comma    byte
	NoHeader bool
}

// Writer writes the result of one statement. Begin comes first and End last, each once.
type Writer interface {
	// Begin starts a result with the given columns.
	Begin(columns []vec.Field) error
	// Write adds rows.
	Write(rows *vec.Batch) error
	// End finishes the result. Only then all of it is written.
	End() error
}

// formats makes a Writer by the name of its format.
var formats = map[string]func(out *bufio.Writer, o Options) Writer{
	"table":    func(out *bufio.Writer, o Options) Writer { return &table{out: out, options: o} },
	"csv":      func(out *bufio.Writer, o Options) Writer { return newDelimited(out, o, ',') },
	"tsv":      func(out *bufio.Writer, o Options) Writer { return newDelimited(out, o, '\t') },
	"json":     func(out *bufio.Writer, _ Options) Writer { return &objects{out: out, array: true} },
	"jsonl":    func(out *bufio.Writer, _ Options) Writer { return &objects{out: out} },
	"markdown": func(out *bufio.Writer, _ Options) Writer { return &markdown{out: out} },
	"parquet":  func(out *bufio.Writer, _ Options) Writer { return &flushed{NewParquet(out), out} },
	"html":     func(out *bufio.Writer, o Options) Writer { return &html{out: out, options: o} },
}

// Formats returns the names of all formats in alphabetical order.
func Formats() []string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New returns a Writer of a format, which writes to w.
func New(format string, w io.Writer, o Options) (Writer, error) {
	f := formats[format]
	if f == nil {
		return nil, fmt.Errorf("unknown format %q: use %s", format, strings.Join(Formats(), ", "))
	}
	return f(bufio.NewWriterSize(w, 64<<10), o), nil
}

// text returns row i of v as text. null reports NULL.
func text(v *vec.Vec, i int, buf []byte) (s []byte, null bool) {
	if v.Null(i) || v.Type.Kind == vec.Null {
		return buf[:0], true
	}
	return expr.AppendText(buf[:0], v, i), false
}

// isRight reports whether values of t are aligned to the right.
func isRight(t vec.Type) bool { return t.IsNumber() }

// delimited writes CSV as in RFC 4180, or the same with tabs. NULL is an empty field, and an empty
// text is written as "".
type delimited struct {
	out      *bufio.Writer
	comma    byte
	noHeader bool
	buf      []byte
}

func newDelimited(out *bufio.Writer, o Options, comma byte) *delimited {
	return &delimited{out: out, comma: cmp.Or(o.Comma, comma), noHeader: o.NoHeader}
}

func (d *delimited) Begin(columns []vec.Field) error {
	if d.noHeader {
		return nil
	}
	for i, c := range columns {
		if i > 0 {
			d.out.WriteByte(d.comma)
		}
		d.field([]byte(c.Name))
	}
	return d.out.WriteByte('\n')
}

func (d *delimited) Write(rows *vec.Batch) error {
	for i := range rows.N {
		for c, v := range rows.Cols {
			if c > 0 {
				d.out.WriteByte(d.comma)
			}
			s, null := text(v, i, d.buf)
			d.buf = s
			if !null {
				d.field(s)
			}
		}
		if err := d.out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// field writes one field, in quotes if it needs them.
func (d *delimited) field(s []byte) {
	quoted := len(s) == 0 || s[0] == ' ' || s[len(s)-1] == ' '
	for _, c := range s {
		quoted = quoted || c == d.comma || c == '"' || c == '\n' || c == '\r'
	}
	if !quoted {
		d.out.Write(s)
		return
	}
	d.out.WriteByte('"')
	for _, c := range s {
		if c == '"' {
			d.out.WriteByte('"')
		}
		d.out.WriteByte(c)
	}
	d.out.WriteByte('"')
}

func (d *delimited) End() error { return d.out.Flush() }

// objects writes rows as JSON objects, one to a line; as an array if array is true. Columns with
// the same name get a number.
type objects struct {
	out   *bufio.Writer
	array bool
	row   vec.Vec
	rows  int
	buf   []byte
}

func (o *objects) Begin(columns []vec.Field) error {
	used := map[string]bool{}
	for _, c := range columns {
		name := c.Name
		for n := 1; used[name]; n++ {
			name = fmt.Sprintf("%s_%d", c.Name, n)
		}
		used[name] = true
		o.row.Type.Fields = append(o.row.Type.Fields, vec.Field{Name: name, Type: c.Type})
	}
	o.row.Type.Kind = vec.Struct
	if o.array {
		_, err := o.out.WriteString("[")
		return err
	}
	return nil
}

func (o *objects) Write(rows *vec.Batch) error {
	o.row.Len, o.row.Fields = rows.N, rows.Cols
	for i := range rows.N {
		switch {
		case o.array && o.rows > 0:
			o.out.WriteString(",\n")
		case o.array:
			o.out.WriteByte('\n')
		}
		o.rows++
		o.buf = expr.AppendText(o.buf[:0], &o.row, i)
		for k, c := range o.buf {
			if c == '\n' || c == '\r' {
				o.buf[k] = ' ' // between the tokens of a JSON value; in a text it is escaped
			}
		}
		if !o.array {
			o.buf = append(o.buf, '\n')
		}
		if _, err := o.out.Write(o.buf); err != nil {
			return err
		}
	}
	return nil
}

func (o *objects) End() error {
	if o.array {
		if o.rows > 0 {
			o.out.WriteByte('\n')
		}
		o.out.WriteString("]\n")
	}
	return o.out.Flush()
}

// markdown writes a table of GitHub's Markdown.
type markdown struct {
	out *bufio.Writer
	buf []byte
}

// markdownEscapes keep texts what they are: no markup, no further cells and lines.
var markdownEscapes = strings.NewReplacer("|", `\|`, `\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "~", `\~`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;", "\r\n", "<br>", "\n", "<br>", "\r", "<br>")

func (m *markdown) Begin(columns []vec.Field) error {
	for _, c := range columns {
		m.out.WriteString("| " + cleaned(markdownEscapes.Replace(c.Name)) + " ")
	}
	m.out.WriteString("|\n")
	for _, c := range columns {
		if isRight(c.Type) {
			m.out.WriteString("| ---: ")
		} else {
			m.out.WriteString("| --- ")
		}
	}
	_, err := m.out.WriteString("|\n")
	return err
}

func (m *markdown) Write(rows *vec.Batch) error {
	for i := range rows.N {
		for _, v := range rows.Cols {
			s, null := text(v, i, m.buf)
			m.buf = s
			m.out.WriteString("| ")
			switch {
			case null:
				m.out.WriteString("NULL")
			case isRight(v.Type):
				m.out.Write(s)
			default:
				m.out.WriteString(cleaned(markdownEscapes.Replace(string(s))))
			}
			m.out.WriteByte(' ')
		}
		if _, err := m.out.WriteString("|\n"); err != nil {
			return err
		}
	}
	return nil
}

func (m *markdown) End() error { return m.out.Flush() }
