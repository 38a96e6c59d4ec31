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

	// For pages of strings with a dictionary:
	words []string // strings of the dictionary
	index []int32  // indexes into words, for the rest of the page
	// levels are the definition levels of the rest of the page; empty when no value may be null.
	levels  []byte
	indexed bool // page uses a dictionary
}

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
				c.words[i] = c.arena.KeepBytes(dict.Index(int32(i)).ByteArray())
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
