package scan

import (
	"errors"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// leafReader reads a column of values of a row group, by pages. Texts of a dictionary stay codes,
// and other values of a dictionary are decoded once per row group.
type leafReader struct {
	decoder
	col  *parquet.Column
	full byte // the definition level of a value

	pages parquet.Pages
	page  parquet.Page
	data  encoding.Values
	codes []int32 // of the values of the page, if it uses a dictionary
	dict  *vec.Vec
	// defs and reps are the levels of the page; empty if all are the highest, or zero.
	defs, reps []byte
	entries    int // values of the page, and NULL
	entry      int // the next one
	value      int // the next value that is not NULL

	// What readNested read: the levels, and the values that are not NULL.
	outDefs, outReps []byte
	dense            *vec.Vec

	out vec.Vec // memory of readFlat
}

// open begins a row group.
func (l *leafReader) open(g parquet.RowGroup) {
	l.close()
	l.pages = g.ColumnChunks()[l.col.Index()].Pages()
	l.dict, l.entries, l.entry = nil, 0, 0
}

func (l *leafReader) close() {
	parquet.Release(l.page)
	l.page = nil
	if l.pages != nil {
		l.pages.Close()
		l.pages = nil
	}
}

// nextPage reads a page. It returns io.EOF after the last one.
func (l *leafReader) nextPage() error {
	parquet.Release(l.page)
	l.page = nil
	page, err := l.pages.ReadPage()
	if err != nil {
		return err
	}
	l.page, l.data, l.codes = page, page.Data(), nil
	l.defs, l.reps = page.DefinitionLevels(), page.RepetitionLevels()
	l.entries, l.entry, l.value = int(page.NumValues()), 0, 0
	if len(l.defs) > 0 && len(l.defs) < l.entries || len(l.reps) > 0 && len(l.reps) < l.entries {
		return errDamaged
	}
	if dict := page.Dictionary(); dict != nil {
		l.codes = l.data.Int32()
		if l.dict == nil {
			return l.readDict(dict)
		}
	}
	return nil
}

// readDict decodes the dictionary of the row group.
func (l *leafReader) readDict(dict parquet.Dictionary) error {
	data := dict.Page().Data()
	l.dict = vec.New(l.typ, dict.Len())
	return l.decode(l.dict, 0, &data, 0, dict.Len())
}

// countFull returns the number of levels that are a value.
func countFull(defs []byte, full byte) (n int) {
	for _, d := range defs {
		if d == full {
			n++
		}
	}
	return n
}

// take stores the next n values that are not NULL in v at a position.
func (l *leafReader) take(v *vec.Vec, at, n int) error {
	from := l.value
	l.value += n
	if l.codes == nil {
		return l.decode(v, at, &l.data, from, n)
	}
	if from+n > len(l.codes) {
		return errDamaged
	}
	codes := l.codes[from : from+n]
	switch {
	case l.dict.Wide != nil || v.Wide != nil:
		for i, c := range codes {
			setDecimal(v, at+i, l.dict.Int128(int(c)))
		}
	case v.Ints != nil:
		pickCodes(v.Ints[at:], l.dict.Ints, codes)
	case v.Floats != nil:
		pickCodes(v.Floats[at:], l.dict.Floats, codes)
	case v.Strings != nil:
		pickCodes(v.Strings[at:], l.dict.Strings, codes)
	case v.Spans != nil:
		pickCodes(v.Spans[at:], l.dict.Spans, codes)
	case v.Bools != nil:
		pickCodes(v.Bools[at:], l.dict.Bools, codes)
	}
	return nil
}

func pickCodes[T any](to, dict []T, codes []int32) {
	for i, c := range codes {
		to[i] = dict[uint32(c)]
	}
}

// spread moves the first values of s to the rows that are values, and sets the others to zero.
func spread[T any](s []T, defs []byte, full byte, present int) {
	if len(s) == 0 {
		return
	}
	var zero T
	for i := len(defs) - 1; i >= 0; i-- {
		if defs[i] == full {
			present--
			s[i] = s[present]
		} else {
			s[i] = zero
		}
	}
}

// spreadRows is spread for the rows of v from a position.
func spreadRows(v *vec.Vec, at int, defs []byte, full byte, present int) {
	switch {
	case v.Wide != nil:
		spread(v.Wide[at:], defs, full, present)
	case v.Ints != nil:
		spread(v.Ints[at:], defs, full, present)
	case v.Floats != nil:
		spread(v.Floats[at:], defs, full, present)
	case v.Bools != nil:
		spread(v.Bools[at:], defs, full, present)
	case v.Spans != nil:
		spread(v.Spans[at:], defs, full, present)
	case v.Codes != nil:
		spread(v.Codes[at:], defs, full, present)
	case v.Strings != nil:
		spread(v.Strings[at:], defs, full, present)
	}
	for i, d := range defs {
		v.Nulls[at+i] = d != full
	}
}

// readFlat reads n values of a column that has one in each row. The result is valid until the next
// call.
func (l *leafReader) readFlat(n int) (*vec.Vec, error) {
	if l.as == asNothing {
		return vec.NullOf(l.typ, n).Flat(), nil
	}
	if l.out.Nulls == nil {
		l.out = *vec.New(l.typ, vec.Size)
		l.out.Nulls, l.out.Codes = make([]bool, vec.Size), make([]uint32, vec.Size)
	}
	v, anyNull := l.out, false
	v.Len, v.Dict = n, nil
	if v.Strings == nil {
		v.Codes = nil
	}
	texts := v.Strings // while Strings is nil, the rows so far are codes
	for at := 0; at < n; {
		if l.entry == l.entries {
			if err := l.nextPage(); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
			continue
		}
		m := min(n-at, l.entries-l.entry)
		present := m
		if len(l.defs) > 0 {
			present = countFull(l.defs[l.entry:l.entry+m], l.full)
		}
		if texts != nil {
			switch isCodes := l.codes != nil && l.dict.Len > 0; {
			case at == 0 && isCodes:
				v.Strings, v.Dict = nil, l.dict.Strings
			case at == 0:
				v.Codes = nil
			case !isCodes && v.Strings == nil:
				for i, c := range v.Codes[:at] {
					texts[i] = v.Dict[c]
				}
				v.Strings, v.Codes, v.Dict = texts, nil, nil
			}
		}
		if v.Strings == nil && texts != nil {
			if l.value+present > len(l.codes) {
				return nil, errDamaged
			}
			for i, c := range l.codes[l.value : l.value+present] {
				if uint32(c) >= uint32(l.dict.Len) {
					return nil, errDamaged
				}
				v.Codes[at+i] = uint32(c)
			}
			l.value += present
		} else if err := l.take(&v, at, present); err != nil {
			return nil, err
		}
		if present < m {
			anyNull = true
			spreadRows(&v, at, l.defs[l.entry:l.entry+m], l.full, present)
		} else {
			clear(v.Nulls[at : at+m])
		}
		l.entry += m
		at += m
	}
	if !anyNull {
		v.Nulls = nil
	}
	cut(&v, n)
	return &v, nil
}

// cut shortens the slices of v to n rows.
func cut(v *vec.Vec, n int) {
	v.Nulls, v.Bools, v.Ints, v.Wide = first(v.Nulls, n), first(v.Bools, n), first(v.Ints, n), first(v.Wide, n)
	v.Floats, v.Strings, v.Codes, v.Spans = first(v.Floats, n), first(v.Strings, n), first(v.Codes, n), first(v.Spans, n)
}

func first[T any](s []T, n int) []T {
	if s == nil {
		return nil
	}
	return s[:n]
}

// readNested reads the entries of n rows into outDefs, outReps and dense.
func (l *leafReader) readNested(n int) error {
	l.outDefs, l.outReps = l.outDefs[:0], l.outReps[:0]
	l.dense = vec.New(l.typ, 0)
	for rows := 0; ; {
		if l.entry == l.entries {
			if err := l.nextPage(); errors.Is(err, io.EOF) && rows == n {
				return nil
			} else if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			} else if err != nil {
				return err
			}
		}
		end := l.entry
		for ; end < l.entries; end++ {
			if len(l.reps) == 0 || l.reps[end] == 0 {
				if rows == n {
					break
				}
				rows++
			}
		}
		present := end - l.entry
		if len(l.defs) > 0 {
			l.outDefs = append(l.outDefs, l.defs[l.entry:end]...)
			present = countFull(l.defs[l.entry:end], l.full)
		} else {
			l.outDefs = append(l.outDefs, slices.Repeat([]byte{l.full}, present)...)
		}
		if len(l.reps) > 0 {
			l.outReps = append(l.outReps, l.reps[l.entry:end]...)
		} else {
			l.outReps = append(l.outReps, make([]byte, end-l.entry)...)
		}
		if l.as != asNothing && present > 0 {
			at := l.dense.Len
			lengthen(l.dense, at+present)
			if err := l.take(l.dense, at, present); err != nil {
				return err
			}
		}
		if l.entry = end; end < l.entries {
			return nil
		}
	}
}

// lengthen gives v n rows.
func lengthen(v *vec.Vec, n int) {
	v.Len = n
	v.Bools, v.Ints, v.Wide = longer(v.Bools, n), longer(v.Ints, n), longer(v.Wide, n)
	v.Floats, v.Strings, v.Spans = longer(v.Floats, n), longer(v.Strings, n), longer(v.Spans, n)
}

func longer[T any](s []T, n int) []T {
	if s == nil {
		return nil
	}
	return slices.Grow(s, n-len(s))[:n]
}

// nodeKind is what a node of nested columns is.
type nodeKind uint8

const (
	leafNode nodeKind = iota
	structNode
	listNode // also of maps
	missingNode
)

// node is a nested column, or a part of one.
type node struct {
	kind nodeKind
	typ  vec.Type
	leaf *leafReader // of leafNode
	// first is a leaf below the node: its levels show where the node is NULL, empty or has
	// elements.
	first *leafReader
	def   byte // the definition level of a node that is not NULL
	// Of a list: the definition level of an element, and the repetition level of further elements.
	elemDef, elemRep byte
	children         []*node
}

// assemble makes a vector from what the leaves below n read. Its rows are the entries with at least
// the definition level def and at most the repetition level rep.
func (n *node) assemble(def, rep byte, rows int) (*vec.Vec, error) {
	switch n.kind {
	case missingNode:
		return vec.NullOf(n.typ, rows).Flat(), nil
	case leafNode:
		l := n.leaf
		picks, value := make([]int32, 0, rows), int32(0)
		for i, d := range l.outDefs {
			if d == l.full {
				if d >= def && l.outReps[i] <= rep {
					picks = append(picks, value)
				}
				value++
			} else if d >= def && l.outReps[i] <= rep {
				picks = append(picks, -1)
			}
		}
		if l.as == asNothing {
			return convert(vec.NullOf(l.typ, len(picks)), n.typ)
		}
		dense := l.dense
		if len(picks) != dense.Len || slices.Contains(picks, -1) {
			dense = dense.Gather(picks)
		}
		return convert(dense, n.typ)
	}
	v := &vec.Vec{Type: n.typ}
	var offsets []int32
	elems := int32(0)
	for i, d := range n.first.outDefs {
		r := n.first.outReps[i]
		if d >= def && r <= rep { // a row begins
			if d < n.def {
				if v.Nulls == nil {
					v.Nulls = make([]bool, v.Len, max(rows, v.Len+1))
				}
				v.Nulls = append(v.Nulls, true)
			} else if v.Nulls != nil {
				v.Nulls = append(v.Nulls, false)
			}
			v.Len++
			offsets = append(offsets, elems)
		}
		if n.kind == listNode && d >= n.elemDef && r <= n.elemRep {
			elems++
		}
	}
	if n.kind == listNode {
		v.Offsets = append(offsets, elems)
		elem, err := n.children[0].assemble(n.elemDef, n.elemRep, int(elems))
		if err != nil {
			return nil, err
		}
		if v.Elem = elem; elem.Len != int(elems) {
			return nil, errDamaged
		}
		return v, nil
	}
	for _, child := range n.children {
		f, err := child.assemble(def, rep, v.Len)
		if err != nil {
			return nil, err
		}
		if v.Fields = append(v.Fields, f); f.Len != v.Len {
			return nil, errDamaged
		}
	}
	return v, nil
}
