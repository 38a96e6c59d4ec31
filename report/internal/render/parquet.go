package render

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// rowGroup is the default number of rows of a row group.
const rowGroup = 128 << 10

// Parquet writes rows as a Parquet file, compressed with zstd unless Codec is another codec. All
// columns are optional. Intervals, times, lists, structs and maps are written as text.
type Parquet struct {
	// Codec compresses the pages. RowGroup is the number of rows of a row group. Both may be set
	// before Begin.
	Codec    compress.Codec
	RowGroup int

	to      io.Writer
	out     *parquet.GenericWriter[any]
	columns []vec.Field
	rows    []parquet.Row
	count   int
}

// NewParquet returns a Writer of a Parquet file.
func NewParquet(w io.Writer) *Parquet {
	return &Parquet{to: w, Codec: &zstd.Codec{Level: zstd.SpeedFastest}, RowGroup: rowGroup}
}

// leaf returns the Go type and the tag of a column.
func leaf(t vec.Type) (reflect.Type, string) {
	switch t.Kind {
	case vec.Bool:
		return reflect.TypeFor[bool](), ""
	case vec.Int:
		return reflect.TypeFor[int64](), ""
	case vec.Decimal:
		if t.Precision <= 18 {
			return reflect.TypeFor[int64](), fmt.Sprintf(",decimal(%d:%d)", t.Scale, t.Precision)
		}
		return reflect.ArrayOf(decimalBytes(t.Precision), reflect.TypeFor[byte]()), fmt.Sprintf(",decimal(%d:%d)", t.Scale, t.Precision)
	case vec.Float:
		return reflect.TypeFor[float64](), ""
	case vec.Blob:
		return reflect.TypeFor[[]byte](), ""
	case vec.Date:
		return reflect.TypeFor[int32](), ",date"
	case vec.Timestamp:
		return reflect.TypeFor[int64](), ",timestamp(microsecond:local)"
	case vec.TimestampTZ:
		return reflect.TypeFor[int64](), ",timestamp(microsecond)"
	case vec.JSON:
		return reflect.TypeFor[string](), ",json"
	}
	return reflect.TypeFor[string](), ""
}

// Begin writes nothing yet. A name that a column of Parquet cannot have, and a name that occurs
// twice, are errors.
func (p *Parquet) Begin(columns []vec.Field) error {
	p.columns = columns
	fields := make([]reflect.StructField, len(columns))
	seen := map[string]bool{}
	for i, c := range columns {
		switch {
		case c.Name == "" || strings.ContainsAny(c.Name, "\",`\\"):
			return fmt.Errorf("column %q cannot be written to Parquet; give it a name with AS", c.Name)
		case seen[c.Name]:
			return fmt.Errorf("two columns are named %q; give one another name with AS", c.Name)
		}
		seen[c.Name] = true
		t, tag := leaf(c.Type)
		fields[i] = reflect.StructField{Name: fmt.Sprintf("C%d", i), Type: t, Tag: reflect.StructTag(fmt.Sprintf(`parquet:"%s,optional%s"`, c.Name, tag))}
	}
	schema := parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Elem().Interface())
	p.out = parquet.NewGenericWriter[any](p.to, schema, parquet.Compression(p.Codec))
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
	for c, v := range b.Cols {
		for i := range rows {
			value, level := parquet.NullValue(), 0
			if !v.Null(i) && v.Type.Kind != vec.Null {
				value, level = parquetValue(v, i), 1
			}
			rows[i] = append(rows[i], value.Level(0, level, c))
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

// parquetValue returns row i of a column, which is not NULL.
func parquetValue(v *vec.Vec, i int) parquet.Value {
	at := i
	if v.Const {
		at = 0
	}
	switch v.Type.Kind {
	case vec.Bool:
		return parquet.BooleanValue(v.Bools[at])
	case vec.Int, vec.Timestamp, vec.TimestampTZ:
		return parquet.Int64Value(v.Ints[at])
	case vec.Decimal:
		x := v.Int128(i)
		if v.Type.Precision <= 18 {
			n, _ := x.Int64()
			return parquet.Int64Value(n)
		}
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], uint64(x.Hi))
		binary.BigEndian.PutUint64(b[8:], x.Lo)
		return parquet.FixedLenByteArrayValue(b[16-decimalBytes(v.Type.Precision):])
	case vec.Float:
		return parquet.DoubleValue(v.Floats[at])
	case vec.Date:
		return parquet.Int32Value(int32(v.Ints[at]))
	case vec.Text, vec.Blob, vec.JSON:
		return parquet.ByteArrayValue([]byte(v.String(i)))
	}
	return parquet.ByteArrayValue(expr.AppendText(nil, v, i))
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
