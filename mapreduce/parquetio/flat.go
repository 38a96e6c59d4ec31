package parquetio

import (
	"errors"
	"io"
	"reflect"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// flatReader reads a row group column by column into a batch of records. For structs without lists,
// this is several times faster than assembling rows.
type flatReader[T any] struct{ columns []flatColumn }

type flatColumn struct {
	flat
	set    setter
	isText bool // it is a string field
	pages  parquet.Pages
	page   parquet.Page
	left   int // rows of page not yet read
	values parquet.ValueReader
	buf    []parquet.Value

	// For pages of strings with a dictionary:
	words []string // strings of the dictionary
	index []int32  // indexes into words, for the rest of the page
	// levels are the definition levels of the rest of the page; empty when no value may be null.
	levels  []byte
	indexed bool // page uses a dictionary

	arena arena
}

func newFlatReader[T any](columns []flat, g parquet.RowGroup) *flatReader[T] {
	r := &flatReader[T]{columns: make([]flatColumn, len(columns))}
	chunks := g.ColumnChunks()
	for i, f := range columns {
		c := &r.columns[i]
		c.flat, c.pages, c.isText = f, chunks[f.leaf].Pages(), f.field.Kind() == reflect.String
		c.set = c.setter(f.field)
	}
	return r
}

func (r *flatReader[T]) close() {
	for i := range r.columns {
		c := &r.columns[i]
		parquet.Release(c.page)
		c.pages.Close()
	}
}

func (r *flatReader[T]) read(rows []T) (int, error) {
	base := unsafe.Pointer(unsafe.SliceData(rows))
	for i := range r.columns {
		c := &r.columns[i]
		if err := c.read(unsafe.Add(base, c.offset), unsafe.Sizeof(*new(T)), len(rows)); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// read stores the next n values in fields at intervals of stride bytes.
func (c *flatColumn) read(field unsafe.Pointer, stride uintptr, n int) error {
	for n > 0 {
		if c.left == 0 {
			if err := c.nextPage(); err != nil {
				return err
			}
			continue
		}
		m := min(n, c.left)
		var err error
		if c.indexed {
			err = c.readWords(field, stride, m)
		} else {
			err = c.readValues(field, stride, m)
		}
		if err != nil {
			return err
		}
		n, c.left = n-m, c.left-m
		if n > 0 {
			field = unsafe.Add(field, uintptr(m)*stride)
		}
	}
	return nil
}

func (c *flatColumn) nextPage() error {
	parquet.Release(c.page)
	c.page = nil
	page, err := c.pages.ReadPage()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	c.page, c.left, c.indexed = page, int(page.NumRows()), false
	if dict := page.Dictionary(); dict != nil && c.isText {
		if c.words == nil { // a column has one dictionary per row group
			c.words = make([]string, dict.Len())
			for i := range c.words {
				c.words[i] = c.arena.keep(dict.Index(int32(i)).ByteArray())
			}
		}
		data := page.Data()
		c.indexed, c.index, c.levels = true, data.Int32(), page.DefinitionLevels()
		return nil
	}
	c.values = page.Values()
	return nil
}

var errDamaged = errors.New("the page is damaged: it has too few values, or an index outside its dictionary")

// readWords reads n values from a page of indexes into a dictionary.
func (c *flatColumn) readWords(field unsafe.Pointer, stride uintptr, n int) error {
	if len(c.levels) == 0 {
		if len(c.index) < n {
			return errDamaged
		}
		for i, w := range c.index[:n] {
			if uint(w) >= uint(len(c.words)) {
				return errDamaged
			}
			*(*string)(unsafe.Add(field, uintptr(i)*stride)) = c.words[w]
		}
		c.index = c.index[n:]
		return nil
	}
	if len(c.levels) < n {
		return errDamaged
	}
	for i, level := range c.levels[:n] {
		if level != c.full {
			continue // null
		}
		if len(c.index) == 0 || uint(c.index[0]) >= uint(len(c.words)) {
			return errDamaged
		}
		*(*string)(unsafe.Add(field, uintptr(i)*stride)) = c.words[c.index[0]]
		c.index = c.index[1:]
	}
	c.levels = c.levels[n:]
	return nil
}

func (c *flatColumn) readValues(field unsafe.Pointer, stride uintptr, n int) error {
	if c.buf == nil {
		c.buf = make([]parquet.Value, batchRows)
	}
	for done := 0; done < n; {
		m, err := c.values.ReadValues(c.buf[:min(n-done, len(c.buf))])
		for i := range m {
			if v := &c.buf[i]; !v.IsNull() {
				c.set(unsafe.Add(field, uintptr(done+i)*stride), v)
			}
		}
		if done += m; done < n && (err != nil || m == 0) {
			if err == nil || errors.Is(err, io.EOF) {
				err = errDamaged
			}
			return err
		}
	}
	return nil
}

// A setter stores a value other than null in a field.
type setter func(field unsafe.Pointer, v *parquet.Value)

var timeType = reflect.TypeFor[time.Time]()

// setter returns the setter for a field of type t. The type must fit the column.
func (c *flatColumn) setter(t reflect.Type) setter {
	integer := func(v *parquet.Value) int64 { return v.Int64() }
	if c.file.Kind() == parquet.Int32 {
		integer = func(v *parquet.Value) int64 { return int64(v.Int32()) }
		if l, ok := logicalOf(c.file).(*format.IntType); ok && !l.IsSigned {
			integer = func(v *parquet.Value) int64 { return int64(v.Uint32()) }
		}
	}
	switch {
	case t == timeType:
		at := c.timeOf(integer)
		return func(field unsafe.Pointer, v *parquet.Value) { *(*time.Time)(field) = at(v) }
	case t.Kind() == reflect.Pointer:
		set := c.setter(t.Elem())
		return func(field unsafe.Pointer, v *parquet.Value) {
			p := reflect.New(t.Elem()).UnsafePointer()
			set(p, v)
			*(*unsafe.Pointer)(field) = p
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*string)(field) = c.arena.keep(v.ByteArray()) }
	case reflect.Slice:
		return func(field unsafe.Pointer, v *parquet.Value) {
			*(*[]byte)(field) = append(make([]byte, 0, len(v.ByteArray())), v.ByteArray()...)
		}
	case reflect.Bool:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*bool)(field) = v.Boolean() }
	case reflect.Float32:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*float32)(field) = v.Float() }
	case reflect.Float64:
		if c.file.Kind() == parquet.Float {
			return func(field unsafe.Pointer, v *parquet.Value) { *(*float64)(field) = float64(v.Float()) }
		}
		return func(field unsafe.Pointer, v *parquet.Value) { *(*float64)(field) = v.Double() }
	}
	switch t.Size() { // integers with and without sign have the same bits
	case 8:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*int64)(field) = integer(v) }
	case 4:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*int32)(field) = int32(integer(v)) }
	case 2:
		return func(field unsafe.Pointer, v *parquet.Value) { *(*int16)(field) = int16(integer(v)) }
	}
	return func(field unsafe.Pointer, v *parquet.Value) { *(*int8)(field) = int8(integer(v)) }
}

// timeOf returns a function that converts the column's values to times in UTC.
func (c *flatColumn) timeOf(integer func(*parquet.Value) int64) func(*parquet.Value) time.Time {
	switch l := logicalOf(c.file).(type) {
	case *format.DateType:
		return func(v *parquet.Value) time.Time { return time.Unix(integer(v)*86400, 0).UTC() }
	case *format.TimestampType:
		unit := int64(l.Unit.Value.Duration())
		perSecond := int64(time.Second) / unit
		return func(v *parquet.Value) time.Time {
			n := integer(v)
			return time.Unix(n/perSecond, n%perSecond*unit).UTC()
		}
	}
	return func(v *parquet.Value) time.Time { // INT96: nanoseconds of the day, and the Julian day
		x := v.Int96()
		const unixEpoch = 2440588
		return time.Unix((int64(x[2])-unixEpoch)*86400, int64(uint64(x[1])<<32|uint64(x[0]))).UTC()
	}
}

// An arena stores many strings in one block of memory and never overwrites them.
type arena struct{ free []byte }

const arenaSize = 64 << 10

// keep returns a permanent copy of b as a string.
func (a *arena) keep(b []byte) string {
	if len(b) > len(a.free) {
		if len(b) > arenaSize/8 {
			return string(b)
		}
		a.free = make([]byte, arenaSize)
	}
	n := copy(a.free, b)
	out := unsafe.String(unsafe.SliceData(a.free), n)
	a.free = a.free[n:]
	return out
}
