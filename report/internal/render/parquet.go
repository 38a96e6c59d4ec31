package render

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// rowGroup is the default number of rows of a row group.
const rowGroup = 128 << 10

// Parquet writes rows as a Parquet file, compressed with zstd unless Codec is another codec. All
// columns, elements and fields are optional; keys of maps are not. Intervals are written as text,
// because intervals of Parquet have milliseconds without a sign.
type Parquet struct {
	// Codec compresses the pages. RowGroup is the number of rows of a row group. Both may be set
	// before Begin.
	Codec    compress.Codec
	RowGroup int

	to     io.Writer
	out    *parquet.GenericWriter[any]
	leaves []leaf
	wide   []int // the leaves that are of type wideDecimal
	rows   []parquet.Row
	count  int
}

// leaf is a column of values of the file. A list, a struct or a map has one or more leaves.
type leaf struct {
	column int   // of the result
	path   []int // the field of each struct on the way; 0 is the key of a map, and 1 the value
	index  int   // of the leaf
}

// NewParquet returns a Writer of a Parquet file.
func NewParquet(w io.Writer) *Parquet {
	return &Parquet{to: w, Codec: &zstd.Codec{Level: zstd.SpeedFastest}, RowGroup: rowGroup}
}

// group is a struct whose fields keep their order. A parquet.Group sorts its fields.
type group struct {
	parquet.Group
	fields []parquet.Field
}

// Fields returns the fields in their order.
func (g group) Fields() []parquet.Field { return g.fields }

// groupField is a field of a group.
type groupField struct {
	parquet.Node
	name string
}

// Name returns the name of the field.
func (f groupField) Name() string { return f.name }

// Value is part of parquet.Field. It has no use here, because rows are made without Go structs.
func (f groupField) Value(base reflect.Value) reflect.Value { return base }

// groupOf returns the node of a struct, and adds its leaves. kind is the word for a field in
// errors.
func (p *Parquet) groupOf(fields []vec.Field, kind string, at leaf) (g group, err error) {
	seen := map[string]bool{}
	for i, f := range fields {
		switch {
		case f.Name == "":
			return g, fmt.Errorf("a %s without a name cannot be written to Parquet; give it a name with AS", kind)
		case seen[f.Name]:
			return g, fmt.Errorf("two %ss are named %q; give one another name with AS", kind, f.Name)
		}
		seen[f.Name] = true
		below := at
		if kind == "column" {
			below.column = i
		} else {
			below.path = append(slices.Clip(at.path), i)
		}
		node, err := p.node(f.Type, below)
		if err != nil {
			return g, err
		}
		g.fields = append(g.fields, groupField{parquet.Optional(node), f.Name})
	}
	return g, nil
}

// node returns the node of a type, and adds its leaves.
func (p *Parquet) node(t vec.Type, at leaf) (parquet.Node, error) {
	switch {
	case t.Kind == vec.List:
		elem, err := p.node(*t.Elem, at)
		if err != nil {
			return nil, err
		}
		return parquet.List(parquet.Optional(elem)), nil
	case t.Kind == vec.Map:
		var entry [2]parquet.Node
		for i, f := range t.Elem.Fields {
			below := at
			below.path = append(slices.Clip(at.path), i)
			var err error
			if entry[i], err = p.node(f.Type, below); err != nil {
				return nil, err
			}
		}
		return parquet.Map(entry[0], parquet.Optional(entry[1])), nil
	case isGroup(t):
		return p.groupOf(t.Fields, "field", at)
	}
	at.index = len(p.leaves)
	p.leaves = append(p.leaves, at)
	if isWide(t) {
		p.wide = append(p.wide, at.index)
	}
	return leafNode(t), nil
}

// isGroup reports whether t has fields. Parquet has no struct without fields, so that is text.
func isGroup(t vec.Type) bool { return t.Kind == vec.Struct && len(t.Fields) > 0 }

// leafNode returns the node of a type of single values.
func leafNode(t vec.Type) parquet.Node {
	switch t.Kind {
	case vec.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case vec.Int:
		return parquet.Int(64)
	case vec.Decimal:
		switch {
		case t.Precision <= 9:
			return parquet.Decimal(t.Scale, t.Precision, parquet.Int32Type)
		case !isWide(t):
			return parquet.Decimal(t.Scale, t.Precision, parquet.Int64Type)
		}
		return parquet.Leaf(wideDecimal{parquet.Decimal(t.Scale, t.Precision, parquet.FixedLenByteArrayType(decimalBytes(t.Precision))).Type(), t.Precision})
	case vec.Float:
		return parquet.Leaf(parquet.DoubleType)
	case vec.Blob:
		return parquet.Leaf(parquet.ByteArrayType)
	case vec.Date:
		return parquet.Date()
	case vec.Time:
		return parquet.TimeAdjusted(parquet.Microsecond, false)
	case vec.Timestamp:
		return parquet.TimestampAdjusted(parquet.Microsecond, false)
	case vec.TimestampTZ:
		return parquet.Timestamp(parquet.Microsecond)
	case vec.JSON:
		return parquet.JSON()
	}
	return parquet.String()
}

// Begin writes nothing yet. A column or field without a name, and a name that occurs twice, are
// errors.
func (p *Parquet) Begin(columns []vec.Field) error {
	root, err := p.groupOf(columns, "column", leaf{})
	if err != nil {
		return err
	}
	schema := parquet.NewSchema("report", root)
	options := []parquet.WriterOption{schema, parquet.Compression(p.Codec)}
	for _, i := range p.wide {
		options = append(options, parquet.SkipPageBounds(schema.Columns()[i]...))
	}
	p.out = parquet.NewGenericWriter[any](p.to, options...)
	return nil
}

// Write adds rows.
func (p *Parquet) Write(b *vec.Batch) error {
	if cap(p.rows) < b.N {
		p.rows = make([]parquet.Row, b.N)
	}
	rows := p.rows[:b.N]
	for i := range rows {
		rows[i] = rows[i][:0]
	}
	for _, l := range p.leaves {
		v := b.Cols[l.column]
		for i := range rows {
			var err error
			if rows[i], err = l.appendValues(rows[i], v, i, levels{}); err != nil {
				return err
			}
		}
	}
	if _, err := p.out.WriteRows(rows); err != nil {
		return err
	}
	if p.count += b.N; p.count >= p.RowGroup {
		p.count = 0
		return p.out.Flush()
	}
	return nil
}

// levels are where a value stands: its repetition and definition level, the number of lists around
// it, and the number of structs.
type levels struct{ rep, def, lists, structs int }

// appendValues adds the values of the leaf that are in row i of v. A NULL, or a list without
// elements, is one value with the levels of its place.
func (l *leaf) appendValues(row parquet.Row, v *vec.Vec, i int, at levels) (parquet.Row, error) {
	if v.Type.Kind == vec.Null || v.Null(i) {
		return append(row, parquet.NullValue().Level(at.rep, at.def, l.index)), nil
	}
	at.def++
	if v.Const {
		i = 0
	}
	switch {
	case v.Type.Kind == vec.List || v.Type.Kind == vec.Map:
		from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
		if from == to {
			return append(row, parquet.NullValue().Level(at.rep, at.def, l.index)), nil
		}
		elem := v.Elem
		at.def++
		at.lists++
		isKey := false
		if v.Type.Kind == vec.Map {
			elem, isKey = elem.Fields[l.path[at.structs]], l.path[at.structs] == 0
			at.structs++
		}
		if isKey { // it is not optional
			at.def--
		}
		var err error
		for e := from; e < to; e++ {
			if isKey && elem.Null(e) {
				return row, errors.New("a map has the key NULL, which Parquet has not; leave it out")
			}
			if row, err = l.appendValues(row, elem, e, at); err != nil {
				return row, err
			}
			at.rep = at.lists
		}
		return row, nil
	case isGroup(v.Type):
		field := v.Fields[l.path[at.structs]]
		at.structs++
		return l.appendValues(row, field, i, at)
	}
	return append(row, parquetValue(v, i).Level(at.rep, at.def, l.index)), nil
}

// parquetValue returns row i of a column, which is not NULL and not Const.
func parquetValue(v *vec.Vec, i int) parquet.Value {
	switch v.Type.Kind {
	case vec.Bool:
		return parquet.BooleanValue(v.Bools[i])
	case vec.Int, vec.Time, vec.Timestamp, vec.TimestampTZ:
		return parquet.Int64Value(v.Ints[i])
	case vec.Decimal:
		x := v.Int128(i)
		n, _ := x.Int64()
		switch {
		case v.Type.Precision <= 9:
			return parquet.Int32Value(int32(n))
		case !isWide(v.Type):
			return parquet.Int64Value(n)
		}
		return parquet.FixedLenByteArrayValue(appendWide(nil, x, v.Type.Precision))
	case vec.Float:
		return parquet.DoubleValue(v.Floats[i])
	case vec.Date:
		return parquet.Int32Value(int32(v.Ints[i]))
	case vec.Text, vec.Blob, vec.JSON:
		return parquet.ByteArrayValue([]byte(v.String(i)))
	}
	return parquet.ByteArrayValue(expr.AppendText(nil, v, i))
}

// isWide reports whether t is a decimal of more than 64 bits.
func isWide(t vec.Type) bool { return t.Kind == vec.Decimal && t.Precision > 18 }

// appendWide appends a decimal of more than 64 bits as the file has it.
func appendWide(dst []byte, x vec.Int128, precision int) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(x.Hi))
	binary.BigEndian.PutUint64(b[8:], x.Lo)
	return append(dst, b[16-decimalBytes(precision):]...)
}

// wideDecimal is a decimal of more than 64 bits. The library compares its bytes without the sign,
// so the least and the greatest value that it finds are wrong if some are negative. They are left
// out of the statistics. The index of pages must have some: the least and the greatest of the
// type.
type wideDecimal struct {
	parquet.Type
	precision int
}

// NewColumnIndexer returns the indexer of the pages.
func (d wideDecimal) NewColumnIndexer(int) parquet.ColumnIndexer {
	most := vec.Pow10(d.precision)
	most, _ = most.Sub(vec.Int128Of(1))
	return parquetfile.NewBoundsIndex(appendWide(nil, most.Neg(), d.precision), appendWide(nil, most, d.precision))
}

// decimalBytes returns the size of a decimal of a precision: the fewest bytes that hold it.
func decimalBytes(precision int) int {
	limit := vec.Pow10(precision).Big()
	n := 1
	for new(big.Int).Lsh(big.NewInt(1), uint(8*n-1)).Cmp(limit) < 0 {
		n++
	}
	return n
}

// End writes the last row group and the footer.
func (p *Parquet) End() error { return p.out.Close() }

// flushed is a Parquet to a buffer, which End writes out.
type flushed struct {
	*Parquet
	to *bufio.Writer
}

// End completes the file.
func (f *flushed) End() error { return errors.Join(f.Parquet.End(), f.to.Flush()) }
