package parquetio

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/internal/parquetfile"
)

// withoutBounds returns a schema in which decimals of bytes have no statistics, and options that
// leave them out. The library (0.32) compares their bytes without the sign, so the least and the
// greatest value are wrong if some are negative, and readers would skip rows. The index of pages
// must have some: the least and the greatest of the type.
func withoutBounds(schema *parquet.Schema) (*parquet.Schema, []parquet.WriterOption) {
	var options []parquet.WriterOption
	fields := boundless(schema.Fields(), nil, &options)
	if len(options) == 0 {
		return schema, nil
	}
	return parquet.NewSchema(schema.Name(), boundlessRoot{schema, fields}), options
}

// boundless wraps the fields below a path, and adds an option for each decimal of bytes.
func boundless(fields []parquet.Field, path []string, options *[]parquet.WriterOption) []parquet.Field {
	wrapped := make([]parquet.Field, len(fields))
	for i, f := range fields {
		below := append(path[:len(path):len(path)], f.Name())
		w := boundlessField{Field: f}
		if !f.Leaf() {
			w.fields = boundless(f.Fields(), below, options)
		} else if t := f.Type(); isByteDecimal(t) {
			w.decimal = &byteDecimal{t}
			*options = append(*options, parquet.SkipPageBounds(below...))
		}
		wrapped[i] = w
	}
	return wrapped
}

// isByteDecimal reports whether t is a decimal whose values are bytes.
func isByteDecimal(t parquet.Type) bool {
	l := t.LogicalType()
	if l == nil {
		return false
	}
	_, isDecimal := l.Value.(*format.DecimalType)
	return isDecimal && (t.Kind() == parquet.FixedLenByteArray || t.Kind() == parquet.ByteArray)
}

type boundlessRoot struct {
	parquet.Node
	fields []parquet.Field
}

func (r boundlessRoot) Fields() []parquet.Field { return r.fields }

type boundlessField struct {
	parquet.Field
	fields  []parquet.Field
	decimal *byteDecimal
}

func (f boundlessField) Fields() []parquet.Field {
	if f.fields != nil {
		return f.fields
	}
	return f.Field.Fields()
}

func (f boundlessField) Type() parquet.Type {
	if f.decimal != nil {
		return f.decimal
	}
	return f.Field.Type()
}

// byteDecimal is a decimal of bytes whose index of pages has the bounds of the type.
type byteDecimal struct{ parquet.Type }

func (d *byteDecimal) NewColumnIndexer(int) parquet.ColumnIndexer {
	n := d.Length()
	if d.Kind() == parquet.ByteArray || n == 0 {
		n = 16
	}
	least, most := make([]byte, n), make([]byte, n)
	for i := range most {
		most[i] = 0xff
	}
	least[0], most[0] = 0x80, 0x7f // in two's complement
	return parquetfile.NewBoundsIndex(least, most)
}
