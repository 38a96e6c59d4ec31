package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// parquetColumns are the wanted columns of a file.
type parquetColumns struct {
	s     *source
	nodes []*node // in the order of s.columns; nil for columns of the file
	all   []*leafReader
	file  fileColumns
}

// match finds the wanted columns in a file. A column that the file lacks is NULL.
func (s *source) match(path string, file *parquet.File) (*parquetColumns, error) {
	p := &parquetColumns{s: s, file: fileColumns{s: s}}
	elements := parquetfile.Elements(file)
	for _, want := range s.columns {
		if s.t.ofFile(want.Name) {
			p.nodes = append(p.nodes, nil)
			continue
		}
		var col *parquet.Column
		for _, c := range file.Root().Columns() {
			if c.Name() == want.Name {
				if col != nil {
					return nil, fmt.Errorf("%s: two columns are named %q", path, want.Name)
				}
				col = c
			}
		}
		if col == nil {
			p.nodes = append(p.nodes, &node{kind: missingNode, typ: want.Type})
			continue
		}
		n, err := p.node(col, want.Type, elements)
		if err != nil {
			return nil, fmt.Errorf("%s: column %q: %w", path, want.Name, err)
		}
		p.nodes = append(p.nodes, n)
	}
	if err := parquetfile.Check(file, p.leaves()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// leaves are the columns with values below the wanted ones.
func (p *parquetColumns) leaves() (columns []*parquet.Column) {
	for _, l := range p.all {
		columns = append(columns, l.col)
	}
	return columns
}

// node returns the reader of a column as a type.
func (p *parquetColumns) node(c *parquet.Column, want vec.Type, elements map[*parquet.Column]*format.SchemaElement) (*node, error) {
	list, element := parquetfile.ElementOf(c)
	if list == nil {
		return p.value(c, want, elements)
	}
	if want.Kind != vec.List && want.Kind != vec.Map || want.Kind == vec.Map && list.Leaf() {
		return nil, fmt.Errorf("a list cannot be read as %s", want)
	}
	n := &node{kind: listNode, typ: want, elemDef: byte(list.MaxDefinitionLevel()), elemRep: byte(list.MaxRepetitionLevel())}
	if n.def = n.elemDef - 1; c == list {
		n.def = 0 // a repeated column is never NULL
	}
	var child *node
	var err error
	switch {
	case want.Kind == vec.Map:
		if len(list.Columns()) != 2 {
			return nil, fmt.Errorf("a map needs a key and a value")
		}
		child = &node{kind: structNode, typ: *want.Elem}
		for i, f := range want.Elem.Fields {
			part, err := p.node(list.Columns()[i], f.Type, elements)
			if err != nil {
				return nil, err
			}
			child.children = append(child.children, part)
		}
		child.first = child.children[0].first
	case element == list:
		child, err = p.value(element, *want.Elem, elements)
	default:
		child, err = p.node(element, *want.Elem, elements)
	}
	if err != nil {
		return nil, err
	}
	n.children, n.first = []*node{child}, child.first
	return n, nil
}

// value is node for a column, or one element of it, that is no list.
func (p *parquetColumns) value(c *parquet.Column, want vec.Type, elements map[*parquet.Column]*format.SchemaElement) (*node, error) {
	if c.Leaf() {
		d, err := newDecoder(c, elements[c], want.Kind == vec.Text)
		if err != nil {
			return nil, err
		}
		if _, err := convert(vec.New(d.typ, 0), want); err != nil {
			return nil, err
		}
		l := &leafReader{decoder: d, col: c, full: byte(c.MaxDefinitionLevel())}
		p.all = append(p.all, l)
		return &node{kind: leafNode, typ: want, leaf: l, first: l}, nil
	}
	if want.Kind != vec.Struct {
		return nil, fmt.Errorf("a group of columns cannot be read as %s", want)
	}
	n := &node{kind: structNode, typ: want, def: byte(c.MaxDefinitionLevel())}
	for _, f := range want.Fields {
		child := &node{kind: missingNode, typ: f.Type}
		if col := c.Column(f.Name); col != nil {
			var err error
			if child, err = p.node(col, f.Type, elements); err != nil {
				return nil, fmt.Errorf("field %q: %w", f.Name, err)
			}
		}
		if n.first == nil {
			n.first = child.first
		}
		n.children = append(n.children, child)
	}
	if n.first == nil {
		return nil, errors.New("the group has none of the wanted fields")
	}
	return n, nil
}

// read emits the batches of a split.
func (s *source) readParquet(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	pieces, err := parquetfile.Pieces(split.Label, split.Data)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		file, closer, err := p.Open(ctx)
		if err != nil {
			return err
		}
		err = parquetfile.Recover(p.Path, func() error { return s.readPiece(ctx, p, file, r) })
		closer.Close()
		if err != nil || r.Stopped() {
			return err
		}
	}
	return nil
}

func (s *source) readPiece(ctx context.Context, p parquetfile.Piece, file *parquet.File, r *connector.Reader[vec.Batch]) error {
	columns, err := s.match(p.Path, file)
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range columns.all {
			l.close()
		}
	}()
	groups := file.RowGroups()
	for _, i := range p.Groups {
		before, err := p.Before(file, i)
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		bytes := parquetfile.Bytes(file, i, columns.leaves())
		if s.extremes {
			if b, ok := columns.extremes(file, i, p.Path); ok {
				r.Path, r.Line, r.Offset = p.Path, 0, before
				r.Emit(b)
				r.Add(groups[i].NumRows(), 1)
				continue
			}
		}
		if skip, err := columns.lacks(file, groups[i], i); err != nil {
			return fmt.Errorf("%s: row group %d: %w", p.Path, i, err)
		} else if skip {
			r.Add(0, bytes)
			continue
		}
		for _, l := range columns.all {
			l.open(groups[i])
		}
		if err := columns.readGroup(ctx, p.Path, before, groups[i].NumRows(), bytes, r); err != nil {
			return fmt.Errorf("%s: row group %d: %w", p.Path, i, err)
		}
		if r.Stopped() {
			return nil
		}
	}
	return nil
}

// rowPlace returns the places of rows for people, after a number of rows before them.
func rowPlace(path string, before int64) func(row int) string {
	return func(row int) string { return fmt.Sprintf("%s: row %d", filesys.DisplayText(path), before+int64(row)+1) }
}

// readGroup emits the rows of a row group. before is the number of rows before it.
func (p *parquetColumns) readGroup(ctx context.Context, path string, before, left, bytes int64, r *connector.Reader[vec.Batch]) error {
	for left > 0 && !r.Stopped() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n := int(min(left, vec.Size))
		b := vec.Batch{N: n, Path: path, Line: before + 1, Offset: before, Where: rowPlace(path, before)}
		for i := range p.nodes {
			v, err := p.column(i, path, n)
			if err != nil {
				return fmt.Errorf("column %q, rows %d to %d: %w", p.s.columns[i].Name, before+1, before+int64(n), err)
			}
			b.Cols = append(b.Cols, v)
		}
		r.Path, r.Line, r.Offset = path, 0, b.Offset // the line of an error in the batch is not known
		r.Emit(&b)
		part := bytes * int64(n) / left
		r.Add(int64(n), part)
		left, bytes, before = left-int64(n), bytes-part, before+int64(n)
	}
	return nil
}

// column reads n rows of a column.
func (p *parquetColumns) column(i int, path string, n int) (*vec.Vec, error) {
	c := p.nodes[i]
	switch {
	case c == nil:
		return p.file.column(i, path, n), nil
	case c.kind == missingNode:
		return vec.NullOf(c.typ, n).Flat(), nil
	case c.kind == leafNode && c.leaf.col.MaxRepetitionLevel() == 0:
		v, err := c.leaf.readFlat(n)
		if err != nil {
			return nil, err
		}
		return convert(v, c.typ)
	}
	if err := c.readLeaves(n); err != nil {
		return nil, err
	}
	v, err := c.assemble(0, 0, n)
	if err == nil && v.Len != n {
		err = errDamaged
	}
	return v, err
}

// readLeaves reads the entries of n rows of all leaves below c.
func (c *node) readLeaves(n int) error {
	if c.leaf != nil {
		return c.leaf.readNested(n)
	}
	for _, child := range c.children {
		if err := child.readLeaves(n); err != nil {
			return err
		}
	}
	return nil
}

// convert returns v as another type that widen chose, or that was declared.
func convert(v *vec.Vec, to vec.Type) (*vec.Vec, error) {
	from := v.Type
	if from.Equal(to) {
		return v, nil
	}
	w := *v
	w.Type = to
	switch {
	case from.Kind == to.Kind && (to.Kind == vec.List || to.Kind == vec.Map):
		elem, err := convert(v.Elem, *to.Elem)
		w.Elem = elem
		return &w, err
	case from.Kind == vec.Struct && to.Kind == vec.Struct:
		w.Fields = nil
		for _, f := range to.Fields {
			part := vec.NullOf(f.Type, v.Len).Flat()
			for i, own := range from.Fields {
				if own.Name == f.Name {
					var err error
					if part, err = convert(v.Fields[i], f.Type); err != nil {
						return nil, err
					}
				}
			}
			w.Fields = append(w.Fields, part)
		}
	case from.Kind == vec.Null:
		return vec.NullOf(to, v.Len).Flat(), nil
	case isTextual(from.Kind) && isTextual(to.Kind):
		return &w, nil
	case from.Kind == vec.Int && to.Kind == vec.Float:
		w.Ints, w.Floats = nil, make([]float64, v.Len)
		for i, x := range v.Ints {
			w.Floats[i] = float64(x)
		}
	case from.Kind == vec.Decimal && to.Kind == vec.Float:
		w.Ints, w.Wide, w.Floats = nil, nil, make([]float64, v.Len)
		for i := range v.Len {
			w.Floats[i] = v.Int128(i).Float() / vec.Pow10(from.Scale).Float()
		}
	case (from.Kind == vec.Int || from.Kind == vec.Decimal) && to.Kind == vec.Decimal && to.Scale >= from.Scale:
		w.Ints, w.Wide = nil, make([]vec.Int128, v.Len)
		for i := range v.Len {
			x, ok := v.Int128(i).Mul(vec.Pow10(to.Scale - from.Scale))
			if w.Wide[i] = x; !ok && !v.Null(i) {
				return nil, fmt.Errorf("a value does not fit %s", to)
			}
		}
		narrow(&w, w.Wide)
	case from.Kind == vec.Date && (to.Kind == vec.Timestamp || to.Kind == vec.TimestampTZ):
		w.Ints = make([]int64, v.Len)
		for i, x := range v.Ints {
			w.Ints[i] = x * day
		}
	case from.Kind == vec.Timestamp && to.Kind == vec.TimestampTZ || from.Kind == vec.TimestampTZ && to.Kind == vec.Timestamp:
	default:
		return nil, fmt.Errorf("%s cannot be read as %s; read it as %[1]s, and convert it in the query", from, to)
	}
	return &w, nil
}

// converts reports whether convert takes the values of a type.
func converts(from, to vec.Type) bool {
	_, err := convert(vec.New(from, 0), to)
	return err == nil
}

func isTextual(k vec.Kind) bool { return k == vec.Text || k == vec.Blob || k == vec.JSON }

// skips reports whether the statistics of a row group show that it has no wanted row.
func (p *parquetColumns) skips(file *parquet.File, group int, bounds []Bound) bool {
	for _, b := range bounds {
		l := p.bounded(b)
		if l == nil {
			continue
		}
		meta := &file.Metadata().RowGroups[group].Columns[l.col.Index()].MetaData
		stats := &meta.Statistics
		allNull := stats.NullCount > 0 && stats.NullCount == meta.NumValues
		switch b.Op {
		case "is null":
			if l.full == 0 && meta.NumValues > 0 {
				return true
			}
			continue
		case "is not null":
			if allNull {
				return true
			}
			continue
		}
		if allNull {
			return true
		}
		typ := p.s.columns[b.Column].Type
		least, ok1 := l.bound(stats.MinValue, typ)
		most, ok2 := l.bound(stats.MaxValue, typ)
		// many writers compare the bytes of decimals without their sign: then the least is greater
		if ok1 && ok2 && bytes.Compare(least, most) <= 0 && b.Values != nil && b.Values.Type.Equal(typ) && excludes(b, least, most) {
			return true
		}
	}
	return false
}

// bounded returns the leaf that a bound is about, or nil if it has no statistics to compare.
func (p *parquetColumns) bounded(b Bound) *leafReader {
	if b.Column < 0 || b.Column >= len(p.nodes) || p.nodes[b.Column] == nil || p.nodes[b.Column].kind != leafNode {
		return nil
	}
	if l := p.nodes[b.Column].leaf; l.col.MaxRepetitionLevel() == 0 {
		return l
	}
	return nil
}

// bound returns the key of the least or greatest value of the statistics.
func (l *leafReader) bound(b []byte, typ vec.Type) (key []byte, ok bool) {
	v, ok := l.statistic(b, typ)
	if !ok {
		return nil, false
	}
	return v.AppendKey(nil, 0, vec.Order{}), true
}

// statistic returns the least or greatest value of the statistics in one row.
func (l *leafReader) statistic(b []byte, typ vec.Type) (v *vec.Vec, ok bool) {
	if b == nil {
		return nil, false
	}
	var data encoding.Values
	switch kind := l.col.Type().Kind(); {
	case kind == parquet.Boolean && len(b) == 1:
		data = encoding.BooleanValues(b)
	case kind == parquet.Int32 && len(b) == 4:
		data = encoding.Int32Values([]int32{int32(binary.LittleEndian.Uint32(b))})
	case kind == parquet.Int64 && len(b) == 8:
		data = encoding.Int64Values([]int64{int64(binary.LittleEndian.Uint64(b))})
	case kind == parquet.Float && len(b) == 4:
		data = encoding.FloatValues([]float32{math.Float32frombits(binary.LittleEndian.Uint32(b))})
	case kind == parquet.Double && len(b) == 8:
		data = encoding.DoubleValues([]float64{math.Float64frombits(binary.LittleEndian.Uint64(b))})
	case kind == parquet.ByteArray && l.as == asText:
		data = encoding.ByteArrayValues(b, []uint32{0, uint32(len(b))})
	case kind == parquet.FixedLenByteArray && len(b) == l.col.Type().Length() && (l.as == asBigFixed || l.as == asFixed):
		data = encoding.FixedLenByteArrayValues(b, len(b))
	default:
		return nil, false
	}
	v = vec.New(l.typ, 1)
	if err := l.decode(v, 0, &data, 0, 1); err != nil || v.Floats != nil && math.IsNaN(v.Floats[0]) {
		return nil, false
	}
	w, err := convert(v, typ)
	if err != nil {
		return nil, false
	}
	return w, true
}

// extremes returns two rows with the least and the greatest value of each column of a row group, if
// its statistics have them. Statistics of floats leave NaN out, and bounds of texts may be cut.
func (p *parquetColumns) extremes(file *parquet.File, group int, path string) (b *vec.Batch, ok bool) {
	if file.Metadata().RowGroups[group].NumRows == 0 {
		return nil, false
	}
	b = &vec.Batch{N: 2, Path: path}
	for i, n := range p.nodes {
		if n == nil || n.kind == missingNode {
			v, err := p.column(i, path, 2)
			if err != nil {
				return nil, false
			}
			b.Cols = append(b.Cols, v)
			continue
		}
		l := p.bounded(Bound{Column: i})
		switch n.typ.Kind {
		case vec.Int, vec.Decimal, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		default:
			l = nil
		}
		if l == nil {
			return nil, false
		}
		meta := &file.Metadata().RowGroups[group].Columns[l.col.Index()].MetaData
		stats := &meta.Statistics
		out := vec.NewBuilder(n.typ, 2)
		if stats.NullCount > 0 && stats.NullCount == meta.NumValues {
			out.AppendNull()
			out.AppendNull()
		} else {
			least, ok1 := l.statistic(stats.MinValue, n.typ)
			most, ok2 := l.statistic(stats.MaxValue, n.typ)
			if !ok1 || !ok2 || bytes.Compare(least.AppendKey(nil, 0, vec.Order{}), most.AppendKey(nil, 0, vec.Order{})) > 0 {
				return nil, false
			}
			out.Append(least, 0)
			out.Append(most, 0)
		}
		b.Cols = append(b.Cols, out.Done())
	}
	return b, true
}

// excludes reports whether no value from least to most fulfils a bound. Statistics of floats leave
// NaN out, which is greater than all numbers.
func excludes(b Bound, least, most []byte) bool {
	isFloat := b.Values.Type.Kind == vec.Float
	out := func(i int, outside func(key []byte) bool) bool {
		if b.Values.Null(i) {
			return true // no row equals NULL
		}
		if isFloat && math.IsNaN(b.Values.Flat().Floats[i]) {
			return false
		}
		return outside(b.Values.AppendKey(nil, i, vec.Order{}))
	}
	beyond := func(key []byte) bool { return bytes.Compare(key, least) < 0 || bytes.Compare(key, most) > 0 }
	if b.Values.Len == 0 {
		return b.Op == "in"
	}
	switch b.Op {
	case "=":
		return out(0, beyond)
	case "in":
		for i := range b.Values.Len {
			if !out(i, beyond) {
				return false
			}
		}
		return true
	case "<":
		return out(0, func(key []byte) bool { return bytes.Compare(least, key) >= 0 })
	case "<=":
		return out(0, func(key []byte) bool { return bytes.Compare(least, key) > 0 })
	case ">":
		return !isFloat && out(0, func(key []byte) bool { return bytes.Compare(most, key) <= 0 })
	case ">=":
		return !isFloat && out(0, func(key []byte) bool { return bytes.Compare(most, key) < 0 })
	case "<>":
		return !isFloat && out(0, func(key []byte) bool { return bytes.Equal(least, most) && bytes.Equal(least, key) })
	}
	return false
}

// lacks reports whether the dictionary of a column shows that a row group has no wanted row.
func (p *parquetColumns) lacks(file *parquet.File, g parquet.RowGroup, group int) (bool, error) {
	for _, b := range p.s.bounds {
		l := p.bounded(b)
		if l == nil || b.Op != "=" && b.Op != "in" || b.Values == nil || !b.Values.Type.Equal(l.typ) || l.as == asNothing {
			continue
		}
		meta := &file.Metadata().RowGroups[group].Columns[l.col.Index()].MetaData
		if !isDictOnly(meta) {
			continue
		}
		pages, ok := g.ColumnChunks()[l.col.Index()].Pages().(*parquet.FilePages)
		if !ok {
			continue
		}
		dict, err := pages.ReadDictionary()
		if err == nil && dict != nil {
			err = l.readDict(dict)
		}
		pages.Close()
		if err != nil {
			return false, err
		}
		if dict == nil {
			continue
		}
		var wanted []string
		for i := range b.Values.Len {
			if !b.Values.Null(i) {
				wanted = append(wanted, string(b.Values.AppendKey(nil, i, vec.Order{})))
			}
		}
		found := false
		var key []byte
		for i := 0; i < l.dict.Len && !found; i++ {
			key = l.dict.AppendKey(key[:0], i, vec.Order{})
			found = slices.Contains(wanted, string(key))
		}
		if !found {
			return true, nil
		}
	}
	return false, nil
}

// isDictOnly reports whether all values of a column in a row group are in its dictionary.
func isDictOnly(meta *format.ColumnMetaData) bool {
	pages := 0
	for _, e := range meta.EncodingStats {
		if e.PageType == format.DataPage || e.PageType == format.DataPageV2 {
			//lint:ignore SA1019 old files have it
			if e.Encoding != format.RLEDictionary && e.Encoding != format.PlainDictionary {
				return false
			}
			pages++
		}
	}
	return pages > 0
}
