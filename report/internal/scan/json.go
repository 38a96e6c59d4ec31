package scan

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// jsonColumn is a column of JSON, and what is still to be done with its values.
type jsonColumn struct {
	typ    vec.Type
	col    *jsoncodec.Column
	fill   *filler // converts the texts of col; nil if they need no conversion
	elem   *jsonColumn
	fields []*jsonColumn
	most   int64 // if not zero, decimals must be below it
}

// newJSONColumn returns a column for values of a type.
func newJSONColumn(name string, typ vec.Type) *jsonColumn {
	c := &jsonColumn{typ: typ, col: &jsoncodec.Column{Name: name}}
	switch typ.Kind {
	case vec.Bool:
		c.col.Kind = jsoncodec.Bools
	case vec.Int:
		c.col.Kind = jsoncodec.Ints
	case vec.Float:
		c.col.Kind = jsoncodec.Floats
	case vec.Text, vec.Blob:
		c.col.Kind = jsoncodec.Texts
	case vec.JSON, vec.Null:
		c.col.Kind = jsoncodec.Raws
	case vec.List:
		c.col.Kind = jsoncodec.Lists
		c.elem = newJSONColumn("", *typ.Elem)
		c.col.Elem = c.elem.col
	case vec.Map:
		c.col.Kind = jsoncodec.Maps
		c.elem = newJSONColumn("", *typ.Elem)
		c.col.Elem = c.elem.col
	case vec.Struct:
		c.col.Kind = jsoncodec.Objects
		for _, f := range typ.Fields {
			field := newJSONColumn(f.Name, f.Type)
			c.fields, c.col.Fields = append(c.fields, field), append(c.col.Fields, field.col)
		}
	default:
		if typ.Kind == vec.Decimal && typ.Precision <= 18 {
			c.col.Kind, c.col.Scale = jsoncodec.Ints, uint8(typ.Scale)
			if typ.Precision < 18 {
				c.most = tens[typ.Precision]
			}
			break
		}
		c.col.Kind = jsoncodec.Texts
		c.fill = newFiller(typ, nil)
	}
	return c
}

// vec returns the first n rows. misfit is called for rows with a value that does not fit the type.
// ascii reports that all texts are ASCII.
func (c *jsonColumn) vec(n int, ascii bool, misfit func(row int, value string)) *vec.Vec {
	v := &vec.Vec{Type: c.typ, Len: n}
	if c.col.Nulls != nil {
		v.Nulls = c.col.Nulls[:n]
	}
	switch c.col.Kind {
	case jsoncodec.Bools:
		v.Bools = c.col.Bools[:n]
	case jsoncodec.Ints:
		v.Ints = c.col.Ints[:n]
		if c.most != 0 {
			for i, x := range v.Ints {
				if (x >= c.most || x <= -c.most) && !v.Null(i) {
					misfit(i, string(vec.AppendDecimal(nil, vec.Int128Of(x), c.typ.Scale)))
				}
			}
		}
	case jsoncodec.Floats:
		v.Floats = c.col.Floats[:n]
	case jsoncodec.Texts, jsoncodec.Raws:
		if c.fill != nil {
			return c.convert(n, misfit)
		}
		if c.typ.Kind == vec.Null {
			return vec.NullOf(c.typ, n)
		}
		v.Strings = c.col.Strings[:n]
		if ascii || c.typ.Kind == vec.Blob {
			break
		}
		for i, s := range v.Strings {
			if !isUTF8(s) {
				misfit(i, s)
			}
		}
	case jsoncodec.Lists, jsoncodec.Maps:
		v.Offsets = c.col.Offsets[:n+1]
		v.Elem = c.elem.vec(int(v.Offsets[n]), ascii, func(e int, value string) {
			misfit(sort.Search(n, func(i int) bool { return v.Offsets[i+1] > int32(e) }), value)
		})
	case jsoncodec.Objects:
		for _, f := range c.fields {
			v.Fields = append(v.Fields, f.vec(n, ascii, misfit))
		}
	}
	return v
}

// convert is vec for texts of another type.
func (c *jsonColumn) convert(n int, misfit func(row int, value string)) *vec.Vec {
	c.fill.room(n)
	c.fill.reset()
	for i, s := range c.col.Strings[:n] {
		if c.col.Nulls != nil && c.col.Nulls[i] {
			c.fill.setNull(i)
		} else if !c.fill.set(i, s) {
			misfit(i, s)
		}
	}
	return c.fill.vec(n)
}

// jsonReader collects rows of JSON in a batch.
type jsonReader struct {
	s       *source
	r       *connector.Reader[vec.Batch]
	root    *jsonColumn
	columns []*jsonColumn // in the order of s.columns; nil for columns of the file
	dec     *jsoncodec.Columns
	at      place
	path    string
	n       int
	file    fileColumns

	// Where each row of the batch is: its offset in the file, and the lines before it.
	offsets, lines [vec.Size]int64
	where          func(row int) string
	chunks         []files.Chunk // with the lines of the batch
	copies         [][]byte      // lines of rows that are not in chunks; nil if there are none
}

func (s *source) newJSONReader(ctx context.Context, r *connector.Reader[vec.Batch]) *jsonReader {
	j := &jsonReader{s: s, r: r, at: place{ctx: ctx}, file: fileColumns{s: s}}
	j.where = func(row int) string { return j.at.place(j.path, j.lines[row]) }
	root := vec.Type{Kind: vec.Struct}
	for _, c := range s.columns {
		if s.t.ofFile(c.Name) {
			continue
		}
		root.Fields = append(root.Fields, c)
	}
	if s.t.Value && len(root.Fields) > 0 {
		j.root = newJSONColumn("json", root.Fields[0].Type)
	} else {
		j.root = newJSONColumn("", root)
	}
	next := 0
	for _, c := range s.columns {
		switch {
		case s.t.ofFile(c.Name):
			j.columns = append(j.columns, nil)
		case s.t.Value:
			j.columns = append(j.columns, j.root)
		default:
			j.columns = append(j.columns, j.root.fields[next])
			next++
		}
	}
	if s.t.Whole {
		j.copies = make([][]byte, vec.Size)
	}
	if s.t.Value && len(root.Fields) == 0 {
		j.root = newJSONColumn("json", vec.Of(vec.JSON)) // to count rows
	}
	j.dec = jsoncodec.NewColumns(j.root.col, vec.Size)
	return j
}

func (s *source) readJSON(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	j := s.newJSONReader(ctx, r)
	if s.t.Whole {
		return j.readWhole(ctx, split)
	}
	err := files.Chunks(ctx, jobSplit(split), '\n', func(c files.Chunk) error {
		if c.Path != j.path {
			if err := j.flush(); err != nil {
				return err
			}
			j.path, j.chunks = c.Path, releaseAll(j.chunks)
		}
		j.at.enter(c)
		j.chunks = append(j.chunks, c)
		if j.n == 0 {
			j.chunks = releaseRead(j.chunks)
		}
		rows := int64(0)
		for off := 0; off < len(c.Data); j.at.lines++ {
			line := c.Data[off:]
			if n := bytes.IndexByte(line, '\n'); n >= 0 {
				line = line[:n]
			} else {
				line = append(line[:len(line):len(line)], padding...)[:len(line)]
			}
			ok, err := j.row(line, c.Offset+int64(off))
			if err != nil {
				return err
			}
			if off += len(line) + 1; ok {
				rows++
			}
		}
		r.Add(rows, int64(len(c.Data)))
		return nil
	})
	if err != nil {
		return err
	}
	err = j.flush()
	releaseAll(j.chunks)
	return err
}

// padding is the memory that the decoder needs after a line.
var padding = append([]byte{'\n'}, make([]byte, jsoncodec.Padding)...)

// row adds a line to the batch. It returns false if the line is blank or malformed.
func (j *jsonReader) row(line []byte, offset int64) (ok bool, err error) {
	if err := j.dec.Decode(line, j.n); err != nil {
		if len(bytes.TrimSpace(line)) == 0 {
			return false, nil
		}
		return false, j.bad(j.at.lines, offset, line, func(where string) error { return j.s.jsonMisfit(where, err) })
	}
	j.offsets[j.n], j.lines[j.n] = offset, j.at.lines
	if j.copies != nil {
		j.copies[j.n] = line
	}
	if j.n++; j.n == vec.Size {
		return true, j.flush()
	}
	return true, nil
}

// line returns the line of a row of the batch.
func (j *jsonReader) line(row int) []byte {
	if j.copies != nil {
		return j.copies[row]
	}
	i := len(j.chunks) - 1
	for j.offsets[row] < j.chunks[i].Offset {
		i--
	}
	line, _, _ := bytes.Cut(j.chunks[i].Data[j.offsets[row]-j.chunks[i].Offset:], []byte{'\n'})
	return line
}

// bad reports a malformed record.
func (j *jsonReader) bad(lines, offset int64, raw []byte, describe func(where string) error) error {
	j.r.Path, j.r.Line, j.r.Offset = j.path, j.at.line(lines), offset
	return j.r.Bad(describe(fmt.Sprintf("%s:%d", j.path, j.r.Line)), raw)
}

// releaseRead releases the chunks of a batch that was emitted, and returns the last one, from which
// more rows may follow.
func releaseRead(chunks []files.Chunk) []files.Chunk {
	if len(chunks) < 2 {
		return chunks
	}
	last := chunks[len(chunks)-1]
	return append(releaseAll(chunks[:len(chunks)-1]), last)
}

// releaseAll releases chunks, and returns an empty slice with their room.
func releaseAll(chunks []files.Chunk) []files.Chunk {
	for _, c := range chunks {
		c.Release()
	}
	return chunks[:0]
}

// flush emits the batch.
func (j *jsonReader) flush() error {
	n := j.n
	if n == 0 {
		return nil
	}
	b := vec.Batch{N: n, Path: j.path, Line: j.at.lineOrNone(j.lines[0]), Offset: j.offsets[0], Where: j.where}
	type wrong struct {
		column int
		value  string
	}
	var misfits map[int]wrong // by row
	ascii := j.dec.IsASCII()
	for i, c := range j.columns {
		if c == nil {
			b.Cols = append(b.Cols, j.file.column(i, j.path, n))
			continue
		}
		b.Cols = append(b.Cols, c.vec(n, ascii, func(row int, value string) {
			if misfits == nil {
				misfits = map[int]wrong{}
			}
			if _, ok := misfits[row]; !ok {
				misfits[row] = wrong{i, value}
			}
		}))
	}
	out := &b
	if misfits != nil {
		var keep []int32
		for row := range n {
			w, ok := misfits[row]
			if !ok {
				keep = append(keep, int32(row))
				continue
			}
			c := j.s.columns[w.column]
			err := j.bad(j.lines[row], j.offsets[row], j.line(row), func(where string) error {
				return j.s.wrongText(where, c.Name, w.value, c.Type)
			})
			if err != nil {
				return err
			}
		}
		out = b.Gather(keep)
	}
	j.r.Path, j.r.Line, j.r.Offset = j.path, 0, b.Offset // the line of an error in the batch is not known
	if out.N > 0 {
		j.r.Emit(out)
	}
	j.n = 0
	j.chunks = releaseRead(j.chunks)
	j.dec.Reset()
	if j.r.Stopped() {
		return files.ErrStop
	}
	return nil
}
