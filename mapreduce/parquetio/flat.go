package parquetio

import (
	"errors"
	"io"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// flatReader reads a row group column by column into a batch of records. For structs without lists,
// this is several times faster than assembling rows.
type flatReader[T any] struct{ columns []flatColumn }

type flatColumn struct {
	flat
	column
	set    setter
	pages  parquet.Pages
	page   parquet.Page
	left   int // rows of page not yet read
	values parquet.ValueReader
	buf    []parquet.Value

	form pageForm
	// words and numbers have the values of the dictionary.
	words   []string
	numbers []int64
	// The rest of the page: indexes into the dictionary or 32-bit integers, or 64-bit integers.
	short []int32
	long  []int64
	// levels are the definition levels of the rest of the page; empty when no value may be null.
	levels []byte
	found  []int64 // numbers of indexes
}

// pageForm is how the values of a page are read.
type pageForm byte

const (
	oneByOne      pageForm = iota // by values and set
	wordIndexes                   // short has indexes of words
	numberIndexes                 // short has indexes of numbers
	shortNumbers
	longNumbers
)

func newFlatReader[T any](columns []flat, g parquet.RowGroup) *flatReader[T] {
	r := &flatReader[T]{columns: make([]flatColumn, len(columns))}
	chunks := g.ColumnChunks()
	for i, f := range columns {
		c := &r.columns[i]
		c.flat, c.pages = f, chunks[f.column].Pages()
		c.set = f.make(&c.column)
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

func (r *flatReader[T]) read(rows []T) error {
	base := unsafe.Pointer(unsafe.SliceData(rows))
	for i := range r.columns {
		c := &r.columns[i]
		if err := c.read(unsafe.Add(base, c.offset), unsafe.Sizeof(*new(T)), len(rows)); err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
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
		switch c.form {
		case wordIndexes:
			err = c.readWords(field, stride, m)
		case oneByOne:
			err = c.readValues(field, stride, m)
		default:
			err = c.readNumbers(field, stride, m)
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
	c.page, c.left, c.form = page, int(page.NumRows()), oneByOne
	dict := page.Dictionary()
	switch {
	case dict != nil && c.isText:
		if c.words == nil { // a column has one dictionary per row group
			c.words = make([]string, dict.Len())
			for i := range c.words {
				c.words[i] = c.arena.KeepBytes(dict.Index(int32(i)).ByteArray())
			}
		}
		c.form = wordIndexes
	case dict != nil && c.isNumber:
		if c.numbers == nil {
			c.numbers = make([]int64, dict.Len())
			for i := range c.numbers {
				v := dict.Index(int32(i))
				c.set(unsafe.Pointer(&c.numbers[i]), &v)
			}
		}
		c.form = numberIndexes
	case c.isNumber && page.Type().Kind() == parquet.Int32:
		c.form = shortNumbers
	case c.isNumber:
		c.form = longNumbers
	default:
		c.values = page.Values()
		return nil
	}
	if data := page.Data(); c.form == longNumbers {
		c.long = data.Int64()
	} else {
		c.short = data.Int32()
	}
	c.levels = page.DefinitionLevels()
	return nil
}

var errDamaged = errors.New("the page is damaged: it has too few values, or an index outside its dictionary")

// readWords reads n values from a page of indexes into a dictionary.
func (c *flatColumn) readWords(field unsafe.Pointer, stride uintptr, n int) error {
	if len(c.levels) == 0 {
		if len(c.short) < n {
			return errDamaged
		}
		for i, w := range c.short[:n] {
			if uint(w) >= uint(len(c.words)) {
				return errDamaged
			}
			*(*string)(unsafe.Add(field, uintptr(i)*stride)) = c.words[w]
		}
		c.short = c.short[n:]
		return nil
	}
	if len(c.levels) < n {
		return errDamaged
	}
	for i, level := range c.levels[:n] {
		if level != c.full {
			continue // null
		}
		if len(c.short) == 0 || uint(c.short[0]) >= uint(len(c.words)) {
			return errDamaged
		}
		*(*string)(unsafe.Add(field, uintptr(i)*stride)) = c.words[c.short[0]]
		c.short = c.short[1:]
	}
	c.levels = c.levels[n:]
	return nil
}

// readNumbers reads n values from a page of integers or of indexes of integers.
func (c *flatColumn) readNumbers(field unsafe.Pointer, stride uintptr, n int) error {
	if len(c.levels) > 0 && len(c.levels) < n {
		return errDamaged
	}
	used := 0
	switch c.form {
	case longNumbers:
		used = putNumbers(c, c.long, field, stride, n)
	case shortNumbers:
		used = putNumbers(c, c.short, field, stride, n)
	default:
		c.found = c.found[:0]
		for _, i := range c.short[:min(n, len(c.short))] {
			if uint(i) >= uint(len(c.numbers)) {
				return errDamaged
			}
			c.found = append(c.found, c.numbers[i])
		}
		used = putNumbers(c, c.found, field, stride, n)
	}
	if used < 0 {
		return errDamaged
	}
	if c.form == longNumbers {
		c.long = c.long[used:]
	} else {
		c.short = c.short[used:]
	}
	if len(c.levels) > 0 {
		c.levels = c.levels[n:]
	}
	return nil
}

// putNumbers stores n numbers or nulls in fields at intervals of stride bytes. It returns how many
// values it used, or -1 if there are too few.
func putNumbers[V int32 | int64](c *flatColumn, values []V, field unsafe.Pointer, stride uintptr, n int) (used int) {
	if len(c.levels) == 0 {
		if len(values) < n {
			return -1
		}
		for i, v := range values[:n] {
			*(*int64)(unsafe.Add(field, uintptr(i)*stride)) = int64(v)
		}
		return n
	}
	for i, level := range c.levels[:n] {
		if level != c.full {
			continue // null
		}
		if used == len(values) {
			return -1
		}
		*(*int64)(unsafe.Add(field, uintptr(i)*stride)) = int64(values[used])
		used++
	}
	return used
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
