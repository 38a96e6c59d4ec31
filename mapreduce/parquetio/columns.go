package parquetio

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// columns describes how the rows of a file become records of type T.
type columns[T any] struct {
	leaves []int // columns of the file to read
	// flat contains one entry per leaf; nil when T needs the library's reader.
	flat   []flat
	schema *parquet.Schema
}

// flat is a column with a field of its own.
type flat struct {
	leaf   int
	offset uintptr
	field  reflect.Type
	file   parquet.Type
	full   byte // definition level of a value other than null
}

// rowReader reads the rows of a row group in order.
type rowReader[T any] interface {
	read(rows []T) (int, error) // rows must be zero
	close()
}

// reader returns a reader of the rows of a row group.
func (c *columns[T]) reader(g parquet.RowGroup) rowReader[T] {
	if c.flat != nil {
		return newFlatReader[T](c.flat, g)
	}
	return libraryReader[T]{parquet.NewGenericRowGroupReader[T](g, c.schema)}
}

// libraryReader reads any T supported by the library.
type libraryReader[T any] struct{ *parquet.GenericReader[T] }

func (r libraryReader[T]) read(rows []T) (int, error) { return r.Read(rows) }
func (r libraryReader[T]) close()                     { r.Close() }

// bytes returns the size in the file of T's columns in a row group.
func (c *columns[T]) bytes(file *parquet.File, group int) (n int64) {
	for _, leaf := range c.leaves {
		n += file.Metadata().RowGroups[group].Columns[leaf].MetaData.TotalCompressedSize
	}
	return n
}

// check refuses files that would be read wrongly. The first case is a footer that contradicts
// itself, which no checksum covers. The second is a column of T compressed with LZ4: for such pages
// the library (0.32) may return wrong bytes, and loops on a damaged page.
func (c *columns[T]) check(file *parquet.File) error {
	meta, rows := file.Metadata(), int64(0)
	for i := range meta.RowGroups {
		g := &meta.RowGroups[i]
		rows += g.NumRows
		for _, leaf := range c.leaves {
			if g.Columns[leaf].MetaData.Codec == format.Lz4Raw {
				return fmt.Errorf("column %q is compressed with LZ4, which cannot be read; write the file with zstd or snappy", strings.Join(file.Schema().Columns()[leaf], "."))
			}
		}
		for _, f := range c.flat {
			if n := g.Columns[f.leaf].MetaData.NumValues; n != g.NumRows {
				return fmt.Errorf("damaged: row group %d has %d rows, its column %q %d values; fetch or write it again", i, g.NumRows, strings.Join(file.Schema().Columns()[f.leaf], "."), n)
			}
		}
	}
	if rows != meta.NumRows {
		return fmt.Errorf("damaged: its row groups have %d rows, its footer has %d; fetch or write it again", rows, meta.NumRows)
	}
	return nil
}

// schemaOf returns the schema of a struct. It returns an error where the library panics.
func schemaOf(t reflect.Type) (schema *parquet.Schema, err error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a struct; use a struct whose fields are the columns", t)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v cannot be a Parquet row: %v", t, r)
		}
	}()
	schema = parquet.SchemaOf(reflect.New(t).Interface())
	if len(schema.Columns()) == 0 {
		return nil, fmt.Errorf("%v has no exported field; a column is an exported field", t)
	}
	return schema, nil
}

// match finds T's columns in a file.
func match[T any](file *parquet.File, missing []string) (*columns[T], error) {
	t := reflect.TypeFor[T]()
	schema, err := schemaOf(t)
	if err != nil {
		return nil, err
	}
	m := matcher{file: file.Schema(), missing: missing, record: reflect.New(t).Elem(), simple: true}
	m.base = m.record.UnsafeAddr()
	if err := m.walk(schema.Fields(), m.record, nil); err != nil {
		return nil, err
	}
	c := &columns[T]{leaves: m.leaves, schema: schema}
	if m.simple {
		c.flat = m.flat
	}
	return c, nil
}

type matcher struct {
	file    *parquet.Schema
	missing []string
	record  reflect.Value
	base    uintptr
	simple  bool // all columns so far are flat
	flat    []flat
	leaves  []int
}

// walk matches the fields of a struct. value is the struct. It is invalid below a list, a map or a
// pointer.
func (m *matcher) walk(fields []parquet.Field, value reflect.Value, path []string) error {
	for _, f := range fields {
		path := append(slices.Clip(path), f.Name())
		var field reflect.Value
		if value.IsValid() {
			field = f.Value(value)
		}
		if !f.Leaf() {
			if !f.Required() || field.IsValid() && field.Kind() != reflect.Struct {
				field, m.simple = reflect.Value{}, false
			}
			if err := m.walk(f.Fields(), field, path); err != nil {
				return err
			}
			continue
		}
		if err := m.matchLeaf(f, field, path); err != nil {
			return err
		}
	}
	return nil
}

func (m *matcher) matchLeaf(f parquet.Field, field reflect.Value, path []string) error {
	name := strings.Join(path, ".")
	leaf, ok := m.file.Lookup(path...)
	if !ok {
		if slices.Contains(m.missing, name) {
			return nil
		}
		var have []string
		for _, c := range m.file.Columns() {
			have = append(have, strings.Join(c, "."))
		}
		return fmt.Errorf("no column %q; the columns are %s; name the right one with a parquet tag, or allow it with AllowMissing", name, quoteAll(have))
	}
	m.leaves = append(m.leaves, leaf.ColumnIndex)
	mine, _ := parquet.SchemaOf(m.record.Addr().Interface()).Lookup(path...)
	if mine.MaxRepetitionLevel != leaf.MaxRepetitionLevel {
		return fmt.Errorf("column %q is %s in the file and %s in %v; a list must be a list in both", name, describe(leaf), describe(mine), m.record.Type())
	}
	if field.IsValid() && !f.Repeated() {
		offset := field.Addr().Pointer() - m.base
		err := checkFit(field.Type(), f.Type(), leaf.Node.Type())
		if err == nil && offset < m.record.Type().Size() {
			m.flat = append(m.flat, flat{leaf.ColumnIndex, offset, field.Type(), leaf.Node.Type(), byte(leaf.MaxDefinitionLevel)})
			return nil
		}
		if err != nil && !errors.Is(err, errLibrary) {
			return fmt.Errorf("column %q is %s in the file and %v in %v: %w", name, leaf.Node.Type(), field.Type(), m.record.Type(), err)
		}
	}
	m.simple = false
	if f.Type().Kind() != leaf.Node.Type().Kind() {
		return fmt.Errorf("column %q is %s in the file and %s in %v; make them the same", name, leaf.Node.Type(), f.Type(), m.record.Type())
	}
	return nil
}

func describe(c parquet.LeafColumn) string {
	if c.MaxRepetitionLevel == 0 {
		return c.Node.Type().String()
	}
	return fmt.Sprintf("a list (depth %d) of %s", c.MaxRepetitionLevel, c.Node.Type())
}

// errLibrary means that only the library can read the column.
var errLibrary = errors.New("not a plain column")

// checkFit returns an error if values of the file's column type cannot be stored in a Go field of
// type t. mine is the Parquet type of that field.
func checkFit(t reflect.Type, mine, file parquet.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	logical := logicalOf(file)
	kind := file.Kind()
	switch k := t.Kind(); {
	case t == timeType:
		switch logical.(type) {
		case *format.TimestampType, *format.DateType:
			return nil
		}
		if kind == parquet.Int96 {
			return nil
		}
		return errors.New("only a timestamp or a date is a time; make the field an integer")
	case k == reflect.String, k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		switch logical.(type) {
		case *format.DecimalType, *format.UUIDType:
			return errLibrary
		}
		if kind == parquet.ByteArray && mine.Kind() == parquet.ByteArray {
			return nil
		}
		return errLibrary
	case k == reflect.Bool:
		if kind == parquet.Boolean {
			return nil
		}
		return errors.New("make the field an integer, or use the type of the file")
	case k >= reflect.Int && k <= reflect.Uint64:
		return checkIntegerFit(t, mine, file)
	case k == reflect.Float32 || k == reflect.Float64:
		switch {
		case mine.Kind() != parquet.Double && mine.Kind() != parquet.Float:
			return errLibrary // a decimal
		case kind == parquet.Float, kind == parquet.Double && k == reflect.Float64:
			return nil
		case kind == parquet.Double:
			return errors.New("make the field a float64")
		}
		return errors.New("use the type of the file")
	}
	return errLibrary
}

func checkIntegerFit(t reflect.Type, mine, file parquet.Type) error {
	width, unsigned := 64, false
	switch file.Kind() {
	case parquet.Int32:
		width = 32
	case parquet.Int64:
	default:
		return errors.New("use the type of the file")
	}
	switch l := logicalOf(file).(type) {
	case nil:
	case *format.IntType:
		width, unsigned = int(l.BitWidth), !l.IsSigned
	default:
		own := logicalOf(mine)
		if own == nil || reflect.TypeOf(own) != reflect.TypeOf(l) {
			return errors.New("a plain integer would lose the unit; use time.Time, or a tag such as parquet:\",timestamp(microsecond)\" or parquet:\",decimal(2:9)\"")
		}
		if own.String() != l.String() {
			return errLibrary
		}
	}
	have, positive := t.Bits(), t.Kind() >= reflect.Uint
	switch {
	case positive && !unsigned:
		return errors.New("the file may hold values below zero; make the field signed")
	case have < width || have == width && unsigned && !positive:
		return errors.New("the file may hold larger values; make the field wider")
	}
	return nil
}

func logicalOf(t parquet.Type) format.LogicalTypeValue {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}
