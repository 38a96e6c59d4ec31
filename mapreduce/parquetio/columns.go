package parquetio

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/internal/parquetfile"
)

// columns describes how the rows of a file become records of type T.
type columns[T any] struct {
	flat   []flat  // fields of the record and of its inner structs, read column by column
	nodes  []*node // other fields, assembled row by row
	leaves []leaf  // columns of the nodes
	read   []*parquet.Column
}

// flat is a column with a field of its own.
type flat struct {
	leaf
	offset uintptr
	isText bool // a string field for bytes of the file
	// isNumber means an integer field of 64 bits for integers of the file.
	isNumber bool
	full     byte // definition level of a value other than null
}

// rowReader reads the rows of a row group in order.
type rowReader[T any] struct {
	flat   *flatReader[T]
	nested *assembler
}

// reader returns a reader of the rows of a row group.
func (c *columns[T]) reader(g parquet.RowGroup) rowReader[T] {
	return rowReader[T]{newFlatReader[T](c.flat, g), newAssembler(c.nodes, c.leaves, g)}
}

// next reads rows, which must be zero.
func (r rowReader[T]) next(rows []T) error {
	if err := r.flat.read(rows); err != nil {
		return err
	}
	if len(r.nested.nodes) == 0 {
		return nil
	}
	for i := range rows {
		r.nested.read(unsafe.Pointer(&rows[i]))
	}
	return r.nested.failed()
}

func (r rowReader[T]) close() {
	r.flat.close()
	r.nested.close()
}

// schemaOf returns the schema of a struct. It returns an error where the library panics, and for
// two fields with the same column.
func schemaOf(t reflect.Type) (schema *parquet.Schema, err error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a struct; use a struct whose fields are the columns", t)
	}
	if err := checkLostFields(t, t.Name(), nil); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v cannot be a Parquet row: %v", t, r)
		}
	}()
	schema = librarySchema(t)
	if len(schema.Columns()) == 0 {
		return nil, fmt.Errorf("%v has no exported field; a column is an exported field", t)
	}
	return schema, checkNames(schema, t)
}

// checkLostFields returns an error for a field that the library would leave out without a word.
// outer are the structs around t.
func checkLostFields(t reflect.Type, path string, outer []reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		if tag, _, _ := strings.Cut(f.Tag.Get("parquet"), ","); tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		name := path + "." + f.Name
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Pointer:
			return fmt.Errorf("field %s: an embedded pointer has no columns; give the field a name, or leave it out with parquet:\"-\"", name)
		case f.Anonymous && f.Type.Kind() != reflect.Struct, f.Anonymous && f.Type == timeType:
			return fmt.Errorf("field %s: an embedded %v has no column; give the field a name, or leave it out with parquet:\"-\"", name, f.Type)
		}
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct || inner == timeType || inner.NumField() == 0 || slices.Contains(outer, inner) {
			continue
		}
		if !hasColumns(inner) {
			return fmt.Errorf("field %s: %v has no exported field, so nothing of it would be written; use a string or number, or leave it out with parquet:\"-\"", name, inner)
		}
		if err := checkLostFields(inner, name, append(slices.Clip(outer), t)); err != nil {
			return err
		}
	}
	return nil
}

// hasColumns reports whether a struct has a field that is a column.
func hasColumns(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct && hasColumns(f.Type) {
			return true
		}
	}
	return false
}

func checkNames(n parquet.Node, t reflect.Type) error {
	seen := map[string]bool{}
	for _, f := range n.Fields() {
		if seen[f.Name()] {
			return fmt.Errorf("%v has two fields for column %q; name each field's column with its parquet tag", t, f.Name())
		}
		seen[f.Name()] = true
		if err := checkNames(f, t); err != nil {
			return err
		}
	}
	return nil
}

// match finds T's columns in a file.
func match[T any](file *parquet.File, missing []string) (*columns[T], error) {
	t := reflect.TypeFor[T]()
	schema, err := schemaOf(t)
	if err != nil {
		return nil, err
	}
	m := matcher{record: t, file: file, missing: missing, elements: parquetfile.Elements(file)}
	if _, err := m.structure(schema, t, file.Root(), place{top: true}); err != nil {
		return nil, err
	}
	return &columns[T]{m.flat, m.nodes, m.leaves, m.read}, nil
}

// matcher matches the fields of a record type with the columns of a file.
type matcher struct {
	record   reflect.Type
	file     *parquet.File
	elements map[*parquet.Column]*format.SchemaElement
	missing  []string
	flat     []flat
	nodes    []*node
	leaves   []leaf
	read     []*parquet.Column
}

// place is where a value is found.
type place struct {
	name string // of the column, with the names of the groups around it
	// top is set if the value is a field of the record or of a struct in it.
	top       bool
	offset    uintptr // in the record, if top is set
	isElement bool    // the column is repeated, and the value is one element
}

// structure matches the fields of a struct of type t with the columns in group c, which is nil if
// missing. Fields at the top go to m.flat and m.nodes. For other structs it returns a node with
// the fields that have columns.
func (m *matcher) structure(mine parquet.Node, t reflect.Type, c *parquet.Column, at place) (*node, error) {
	n := &node{kind: structNode, typ: t, first: len(m.leaves)}
	record := reflect.New(t).Elem()
	for _, f := range mine.Fields() {
		value := f.Value(record)
		offset := value.Addr().Pointer() - record.UnsafeAddr()
		in := place{name: join(at.name, f.Name()), top: at.top, offset: at.offset + offset}
		column, err := columnOf(c, f.Name())
		if err != nil {
			return nil, err
		}
		child, err := m.value(f, value.Type(), column, in)
		if err != nil {
			return nil, err
		}
		if child == nil {
			continue
		}
		if child.offset = offset; at.top {
			child.offset = in.offset
			m.nodes = append(m.nodes, child)
		}
		n.children = append(n.children, child)
	}
	if n.end = len(m.leaves); at.top || len(n.children) == 0 {
		return nil, nil
	}
	return n, nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// columnOf returns the column in group c with a name, or nil.
func columnOf(c *parquet.Column, name string) (found *parquet.Column, err error) {
	if c == nil {
		return nil, nil
	}
	for _, have := range c.Columns() {
		if have.Name() != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two columns are called %q; write the file with a name for each", strings.Join(have.Path(), "."))
		}
		found = have
	}
	return found, nil
}

// value matches a Go type with column c of the file, which is nil if missing. It returns nil if the
// value needs no node.
func (m *matcher) value(mine parquet.Node, t reflect.Type, c *parquet.Column, at place) (*node, error) {
	isGroup := t.Kind() == reflect.Struct && !mine.Leaf()
	isMap := t.Kind() == reflect.Map && !mine.Leaf()
	isList := t.Kind() == reflect.Slice && (!mine.Leaf() || mine.Repeated() && t.Elem().Kind() != reflect.Uint8)
	if c == nil {
		if isGroup && !m.mayMiss(at.name) {
			return m.structure(mine, t, nil, at)
		}
		return nil, m.missingColumn(at.name)
	}
	if c.Leaf() && newFileType(c, m.elements[c]).isNull() {
		return nil, nil // the value of every field is zero
	}
	if c.Repeated() && !at.isElement && !isList && !isMap {
		return nil, m.differ(at, mine, t, c, nil)
	}
	n := &node{typ: t, first: len(m.leaves)}
	inner := place{name: at.name}
	var err error
	add := func(mine parquet.Node, t reflect.Type, c *parquet.Column) {
		var child *node
		if err == nil {
			if child, err = m.value(mine, t, c, inner); child != nil {
				n.children = append(n.children, child)
			}
		}
	}
	switch {
	case isList || isMap:
		list, element := parquetfile.ElementOf(c)
		if list == nil || isMap && len(list.Columns()) == 0 || isList && parquetfile.IsMap(c) && t.Elem().Kind() != reflect.Struct {
			return nil, m.differ(at, mine, t, c, nil)
		}
		n.def, n.empty, n.rep = list.MaxDefinitionLevel(), list.MaxDefinitionLevel()-1, list.MaxRepetitionLevel()
		if isMap {
			n.kind = mapNode
			pair := mine.Fields()[0].Fields()
			add(pair[0], t.Key(), list.Columns()[0])
			if len(list.Columns()) > 1 { // without values it is a set
				add(pair[1], t.Elem(), list.Columns()[1])
			}
			break
		}
		if !mine.Repeated() {
			mine = mine.Fields()[0].Fields()[0]
		}
		n.kind, inner.isElement = listNode, element == list
		add(mine, t.Elem(), element)
		if err == nil && len(n.children) == 0 && element.Leaf() {
			return nil, fmt.Errorf("column %q is a list of nulls only; leave the field out", at.name)
		}
	case isGroup && !c.Leaf():
		return m.structure(mine, t, c, at)
	case t.Kind() == reflect.Pointer && !mine.Leaf():
		if n.kind = pointerNode; c.Optional() {
			n.def = c.MaxDefinitionLevel()
		}
		inner.isElement = at.isElement
		add(mine, t.Elem(), c)
	default:
		return m.leaf(mine, t, c, at)
	}
	if err != nil || len(n.children) == 0 {
		return nil, err
	}
	n.end = len(m.leaves)
	return n, nil
}

// leaf matches a field with a column of values.
func (m *matcher) leaf(mine parquet.Node, t reflect.Type, c *parquet.Column, at place) (*node, error) {
	if !c.Leaf() || !mine.Leaf() {
		return nil, m.differ(at, mine, t, c, nil)
	}
	f := newFileType(c, m.elements[c])
	mk, err := fit(t, mine.Type(), f)
	if err != nil {
		return nil, m.differ(at, mine, t, c, err)
	}
	m.read = append(m.read, c)
	l := leaf{c.Index(), mk}
	if at.top {
		m.flat = append(m.flat, flat{l, at.offset, isPlainText(t, f), isPlainNumber(t, f), byte(c.MaxDefinitionLevel())})
		return nil, nil
	}
	m.leaves = append(m.leaves, l)
	return &node{kind: leafNode, typ: t, first: len(m.leaves) - 1, end: len(m.leaves), def: c.MaxDefinitionLevel()}, nil
}

func (m *matcher) mayMiss(name string) bool {
	return slices.ContainsFunc(m.missing, func(s string) bool { return name == s || strings.HasPrefix(name, s+".") })
}

// missingColumn returns nil if the column may be missing.
func (m *matcher) missingColumn(name string) error {
	if m.mayMiss(name) {
		return nil
	}
	var have []string
	for _, c := range m.file.Root().Columns() {
		if !strings.Contains(name, ".") {
			have = append(have, c.Name())
		}
	}
	if have == nil {
		for _, c := range m.file.Schema().Columns() {
			have = append(have, strings.Join(c, "."))
		}
	}
	return fmt.Errorf("no column %q; the columns are %s; name the right one with a parquet tag, or allow it with AllowMissing", name, quoteAll(have))
}

// differ describes a column that does not fit a field of type t. why may be nil.
func (m *matcher) differ(at place, mine parquet.Node, t reflect.Type, c *parquet.Column, why error) error {
	field := t.String()
	if mine.Leaf() {
		switch l := logicalOf(mine.Type()).(type) {
		case *format.DecimalType, *format.DateType, *format.TimeType, *format.TimestampType, *format.UUIDType:
			if t != timeType {
				field += fmt.Sprintf(" tagged %v", l)
			}
		}
	}
	kind, want := m.describe(c, at.isElement, at.name[strings.LastIndexByte(at.name, '.')+1:])
	if want = "make the field " + want; why != nil && !errors.Is(why, errOther) {
		want = why.Error() + "; " + want
	}
	return fmt.Errorf("column %q is %s in the file and %s in %v: %s", at.name, kind, field, m.record, want)
}

// describe returns the kind of a column or of one element of it, and a field that fits.
func (m *matcher) describe(c *parquet.Column, isElement bool, name string) (kind, field string) {
	list, element := parquetfile.ElementOf(c)
	if isElement {
		list = nil
	}
	switch {
	case list != nil && parquetfile.IsMap(c):
		return "a map", "a map"
	case list != nil && element != list:
		kind, _ = m.describe(element, false, name)
		return "a list of " + kind, fmt.Sprintf("a slice with the tag `parquet:\"%s,list\"`", name)
	case list != nil && element.Leaf():
		return "a list of " + newFileType(element, m.elements[element]).String(), "a slice"
	case list != nil:
		return "a list of groups", "a slice of structs"
	case !c.Leaf():
		return "a group", "a struct"
	}
	f := newFileType(c, m.elements[c])
	return f.String(), goTypeFor(name, f)
}
