package parquetio

import (
	"errors"
	"io"
	"reflect"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// node is a part of a record that is assembled from its columns row by row: a list, a map, a
// pointer to a struct, and what they contain.
//
// A value in a file has two levels. The definition level is the number of optional and repeated
// parts on its path that are present. The repetition level is the depth of the list of which it
// starts a new element; zero starts a new row. See the Dremel paper (VLDB 2010), section 4.
type node struct {
	kind     nodeKind
	typ      reflect.Type
	offset   uintptr // in the struct around it
	children []*node
	first    int // number of the first cursor below
	end      int // after the last cursor below
	// def is the definition level from which the value is present: for a list, one with an element.
	def int
	// empty is the definition level of a list or map without elements; lower levels are null.
	empty int
	rep   int // repetition level of an element of the list or map
}

type nodeKind int

const (
	leafNode nodeKind = iota
	structNode
	pointerNode
	listNode
	mapNode
)

// leaf is a column of the file below a node.
type leaf struct {
	column int
	make   maker
}

// assembler reads the nodes of the rows of a row group.
type assembler struct {
	nodes   []*node
	cursors []cursor
	err     error
}

func newAssembler(nodes []*node, leaves []leaf, g parquet.RowGroup) *assembler {
	a := &assembler{nodes: nodes, cursors: make([]cursor, len(leaves))}
	chunks := g.ColumnChunks()
	for i, l := range leaves {
		c := &a.cursors[i]
		c.pages = chunks[l.column].Pages()
		c.set = l.make(&c.column)
	}
	return a
}

func (a *assembler) close() {
	for i := range a.cursors {
		parquet.Release(a.cursors[i].page)
		a.cursors[i].pages.Close()
	}
}

// read assembles one row.
func (a *assembler) read(record unsafe.Pointer) {
	for _, n := range a.nodes {
		a.assemble(n, unsafe.Add(record, n.offset), 0)
	}
}

// failed returns the first error of a column, or the error of the assembly.
func (a *assembler) failed() error {
	for i := range a.cursors {
		if err := a.cursors[i].err; err != nil {
			return err
		}
	}
	return a.err
}

// assemble stores the next value of n at p. rep is the repetition level that its first values must
// have. After an error it stores what it has.
func (a *assembler) assemble(n *node, p unsafe.Pointer, rep int) {
	switch n.kind {
	case leafNode:
		c := &a.cursors[n.first]
		if v := a.next(c, rep); v != nil && v.DefinitionLevel() == n.def {
			c.set(p, v)
		}
	case structNode:
		for _, child := range n.children {
			a.assemble(child, unsafe.Add(p, child.offset), rep)
		}
	case pointerNode:
		if n.def > 0 && a.level(n) < n.def {
			a.skip(n, rep)
			return
		}
		inner := reflect.New(n.typ.Elem()).UnsafePointer()
		*(*unsafe.Pointer)(p) = inner
		a.assemble(n.children[0], inner, rep)
	case listNode:
		a.list(n, p, rep)
	case mapNode:
		level := a.level(n)
		if level < n.empty {
			a.skip(n, rep)
			return
		}
		m := reflect.MakeMap(n.typ)
		reflect.NewAt(n.typ, p).Elem().Set(m)
		if level < n.def {
			a.skip(n, rep)
			return
		}
		for more := true; more; more = a.more(n) {
			key, value := reflect.New(n.typ.Key()), reflect.New(n.typ.Elem())
			a.assemble(n.children[0], key.UnsafePointer(), rep)
			if len(n.children) > 1 {
				a.assemble(n.children[1], value.UnsafePointer(), rep)
			}
			m.SetMapIndex(key.Elem(), value.Elem())
			rep = n.rep
		}
	}
}

// slice is the layout of every slice.
type slice struct {
	data     unsafe.Pointer
	len, cap int
}

func (a *assembler) list(n *node, p unsafe.Pointer, rep int) {
	level := a.level(n)
	if level < n.def {
		a.skip(n, rep)
		if level >= n.empty {
			*(*slice)(p) = slice{data: reflect.MakeSlice(n.typ, 0, 0).UnsafePointer()}
		}
		return
	}
	var s slice
	size := n.typ.Elem().Size()
	for more := true; more; more = a.more(n) {
		if s.len == s.cap {
			bigger, old := reflect.MakeSlice(n.typ, max(4, 2*s.cap), max(4, 2*s.cap)), s
			reflect.Copy(bigger, reflect.NewAt(n.typ, unsafe.Pointer(&old)).Elem())
			s.data, s.cap = bigger.UnsafePointer(), bigger.Cap()
		}
		a.assemble(n.children[0], unsafe.Add(s.data, uintptr(s.len)*size), rep)
		s.len++
		rep = n.rep
	}
	*(*slice)(p) = s
}

// level returns the definition level of the next value below n.
func (a *assembler) level(n *node) int {
	v := a.cursors[n.first].peek()
	if v == nil {
		return 0
	}
	return v.DefinitionLevel()
}

// more reports whether the next value below n is another element of the list or map n.
func (a *assembler) more(n *node) bool {
	v := a.cursors[n.first].peek()
	return v != nil && a.err == nil && v.RepetitionLevel() >= n.rep
}

// skip passes the values of n, which is null or empty.
func (a *assembler) skip(n *node, rep int) {
	for i := n.first; i < n.end; i++ {
		if v := a.next(&a.cursors[i], rep); v != nil && v.DefinitionLevel() >= n.def {
			a.err = errDamaged
		}
	}
}

// next returns the next value of a column, which must have the repetition level rep.
func (a *assembler) next(c *cursor, rep int) *parquet.Value {
	v := c.peek()
	if v == nil || v.RepetitionLevel() != rep {
		a.err = errDamaged
		return nil
	}
	c.pos++
	return v
}

// cursor reads the values of one column, nulls included.
type cursor struct {
	column
	set    setter
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    []parquet.Value
	pos    int
}

// peek returns the next value, or nil at the end of the row group and after an error. The value is
// valid until the next call.
func (c *cursor) peek() *parquet.Value {
	for c.pos == len(c.buf) {
		if !c.fill() {
			return nil
		}
	}
	return &c.buf[c.pos]
}

func (c *cursor) fill() bool {
	if c.err != nil {
		return false
	}
	if c.values == nil {
		parquet.Release(c.page)
		page, err := c.pages.ReadPage()
		if c.page = page; err != nil {
			if !errors.Is(err, io.EOF) {
				c.fail(err)
			}
			return false
		}
		c.values = page.Values()
	}
	if cap(c.buf) == 0 {
		c.buf = make([]parquet.Value, batchRows)
	}
	n, err := c.values.ReadValues(c.buf[:cap(c.buf)])
	c.buf, c.pos = c.buf[:n], 0
	if err != nil || n == 0 {
		c.values = nil
		if err != nil && !errors.Is(err, io.EOF) {
			c.fail(err)
		}
	}
	return true
}
