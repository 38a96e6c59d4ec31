package scan

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unsafe"

	"github.com/layshaft/layshaft/report/internal/vec"
)

var errAvro = errors.New("the block is damaged")

// avroColumn receives values of a node. It is nil where they are skipped.
type avroColumn struct {
	typ    vec.Type // the type of the node, pruned
	v      *vec.Vec
	elem   *avroColumn
	fields []*avroColumn // in the order of the node's fields
	order  []int         // the fields in the order of typ
}

// newAvroColumn returns a column for a node, with only those fields of structs that want has.
func newAvroColumn(n *avroNode, want vec.Type) *avroColumn {
	c := &avroColumn{typ: n.typ}
	if n.whole {
		return c
	}
	if n.kind == avroUnion && n.value != nil {
		return newAvroColumn(n.value, want)
	}
	switch {
	case n.kind == avroArray:
		elem := vec.Type{}
		if want.Kind == vec.List {
			elem = *want.Elem
		}
		c.elem = newAvroColumn(n.elem, elem)
		c.typ = vec.ListOf(c.elem.typ)
	case n.kind == avroMap:
		value := vec.Type{}
		if want.Kind == vec.Map {
			value = want.Elem.Fields[1].Type
		}
		c.elem = newAvroColumn(n.elem, value)
		c.typ = vec.MapOf(vec.Of(vec.Text), c.elem.typ)
	case n.kind == avroRecord:
		c.typ.Fields, c.fields = nil, make([]*avroColumn, len(n.fields))
		for i, name := range n.names {
			at := slices.IndexFunc(want.Fields, func(f vec.Field) bool { return f.Name == name })
			if want.Kind == vec.Struct && at < 0 {
				continue
			}
			of := vec.Type{}
			if at >= 0 {
				of = want.Fields[at].Type
			}
			c.fields[i] = newAvroColumn(n.fields[i], of)
			c.typ.Fields = append(c.typ.Fields, vec.Field{Name: name, Type: c.fields[i].typ})
			c.order = append(c.order, i)
		}
	}
	return c
}

// begin makes an empty vector.
func (c *avroColumn) begin() {
	c.v = &vec.Vec{Type: c.typ}
	switch c.typ.Kind {
	case vec.List, vec.Map:
		c.v.Offsets = make([]int32, 1, vec.Size+1)
		c.elem.begin()
		if c.v.Elem = c.elem.v; c.typ.Kind == vec.Map {
			c.v.Elem = &vec.Vec{Type: *c.typ.Elem, Fields: []*vec.Vec{{Type: vec.Of(vec.Text)}, c.elem.v}}
		}
	case vec.Struct:
		for _, i := range c.order {
			c.fields[i].begin()
			c.v.Fields = append(c.v.Fields, c.fields[i].v)
		}
	}
}

// added counts a value.
func (c *avroColumn) added() {
	if c.v.Len++; c.v.Nulls != nil {
		c.v.Nulls = append(c.v.Nulls, false)
	}
}

// appendNull appends NULL.
func (c *avroColumn) appendNull() {
	v := c.v
	if v.Nulls == nil {
		v.Nulls = make([]bool, v.Len, vec.Size)
	}
	v.Nulls = append(v.Nulls, true)
	v.Len++
	switch c.typ.Kind {
	case vec.Bool:
		v.Bools = append(v.Bools, false)
	case vec.Float:
		v.Floats = append(v.Floats, 0)
	case vec.Text, vec.Blob, vec.JSON:
		v.Strings = append(v.Strings, "")
	case vec.Interval:
		v.Spans = append(v.Spans, vec.Span{})
	case vec.List, vec.Map:
		v.Offsets = append(v.Offsets, v.Offsets[len(v.Offsets)-1])
	case vec.Struct:
		for _, i := range c.order {
			c.fields[i].appendNull()
		}
	case vec.Null:
	case vec.Decimal:
		c.v.Wide = append(c.v.Wide, vec.Int128{})
	default:
		v.Ints = append(v.Ints, 0)
	}
}

// avroDecoder decodes the values of a block. Strings alias it.
type avroDecoder struct {
	b       []byte
	bad     bool
	notUTF8 bool // a text is not UTF-8
	depth   int
}

// long reads an integer.
func (d *avroDecoder) long() int64 {
	u, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int64(u>>1) ^ -int64(u&1)
}

// take reads n bytes.
func (d *avroDecoder) take(n int64) []byte {
	if n < 0 || n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *avroDecoder) text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// blocks calls item for each item of an array or a map.
func (d *avroDecoder) blocks(item func()) {
	for !d.bad {
		n := d.long()
		if n < 0 {
			n = -n
			d.long() // the size in bytes
		}
		if n == 0 {
			return
		}
		for range n {
			before := len(d.b)
			if item(); d.bad {
				return
			}
			if len(d.b) == before && n > 1<<20 {
				d.bad = true // items without bytes, more than a file would have
				return
			}
		}
	}
}

// branch reads the number of a branch of a union.
func (d *avroDecoder) branch(n *avroNode) *avroNode {
	i := d.long()
	if i < 0 || i >= int64(len(n.branches)) {
		d.bad, d.b = true, nil
		return n.branches[0]
	}
	return n.branches[i]
}

// value reads a value of n into c, or skips it if c is nil.
func (d *avroDecoder) value(n *avroNode, c *avroColumn) {
	if d.depth++; d.depth > 1000 {
		d.bad, d.b = true, nil
	}
	defer func() { d.depth-- }()
	if d.bad {
		return
	}
	if n.whole && c != nil {
		text := d.appendJSON(nil, n)
		if string(text) == "null" {
			c.appendNull()
			return
		}
		c.v.Strings = append(c.v.Strings, string(text))
		c.added()
		return
	}
	switch n.kind {
	case avroUnion:
		b := d.branch(n)
		if b.kind == avroNull && c != nil {
			c.appendNull()
			return
		}
		d.value(b, c)
		return
	case avroNull:
		if c != nil {
			c.appendNull()
		}
		return
	case avroArray, avroMap:
		d.items(n, c)
		return
	case avroRecord:
		fields := n
		if n.whole {
			fields = n.elem
		}
		for i, f := range fields.fields {
			var field *avroColumn
			if c != nil {
				field = c.fields[i]
			}
			d.value(f, field)
		}
		if c != nil {
			c.added()
		}
		return
	}
	d.scalar(n, c)
}

// items reads an array or a map.
func (d *avroDecoder) items(n *avroNode, c *avroColumn) {
	if c == nil {
		d.blocks(func() {
			if n.kind == avroMap {
				d.take(d.long())
			}
			d.value(n.elem, nil)
		})
		return
	}
	d.blocks(func() {
		if n.kind == avroMap {
			key := d.text(d.take(d.long()))
			keys := c.v.Elem.Fields[0]
			keys.Strings = append(keys.Strings, key)
			keys.Len++
			c.v.Elem.Len++
		}
		d.value(n.elem, c.elem)
	})
	c.v.Offsets = append(c.v.Offsets, int32(c.elem.v.Len))
	c.added()
}

// scalar reads a value without parts.
func (d *avroDecoder) scalar(n *avroNode, c *avroColumn) {
	var raw []byte
	number := int64(0)
	float := 0.0
	switch n.kind {
	case avroBool:
		raw = d.take(1)
	case avroLong, avroEnum:
		number = d.long()
	case avroFloat:
		if raw = d.take(4); !d.bad {
			float = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
	case avroDouble:
		if raw = d.take(8); !d.bad {
			float = math.Float64frombits(binary.LittleEndian.Uint64(raw))
		}
	case avroBytes:
		raw = d.take(d.long())
	case avroFixed:
		raw = d.take(int64(n.size))
	}
	if c == nil || d.bad {
		return
	}
	v := c.v
	switch c.typ.Kind {
	case vec.Bool:
		v.Bools = append(v.Bools, raw[0] != 0)
	case vec.Float:
		if n.kind == avroLong { // a branch of a union of numbers
			float = float64(number)
		}
		v.Floats = append(v.Floats, float)
	case vec.Decimal:
		x, ok := bigOf(raw)
		if !ok {
			d.bad = true
			return
		}
		v.Wide = append(v.Wide, x)
	case vec.Interval:
		v.Spans = append(v.Spans, spanOf(raw))
	case vec.Text, vec.Blob, vec.JSON:
		switch {
		case n.kind == avroEnum && (number < 0 || number >= int64(len(n.symbols))):
			d.bad = true
			return
		case n.kind == avroEnum:
			v.Strings = append(v.Strings, n.symbols[number])
		case n.kind == avroFixed && c.typ.Kind == vec.Text:
			v.Strings = append(v.Strings, uuidOf(raw))
		default:
			text := d.text(raw)
			d.notUTF8 = d.notUTF8 || n.isText && !isUTF8(text)
			v.Strings = append(v.Strings, text)
		}
	default:
		v.Ints = append(v.Ints, n.micros(number))
	}
	c.added()
}

// micros converts a time to microseconds, and returns other integers as they are.
func (n *avroNode) micros(x int64) int64 {
	if n.div > 1 {
		q := x / n.div
		if x%n.div < 0 {
			q--
		}
		return q
	}
	return x * max(n.mul, 1)
}

// bigOf returns the integer of bytes that begin with the highest one.
func bigOf(b []byte) (vec.Int128, bool) {
	var v vec.Vec
	v.Ints, v.Len = make([]int64, 1), 1
	ok := setBig(&v, 0, b)
	return v.Int128(0), ok
}

// appendJSON reads a value as JSON text.
func (d *avroDecoder) appendJSON(dst []byte, n *avroNode) []byte {
	if d.depth++; d.depth > 1000 {
		d.bad, d.b = true, nil
	}
	defer func() { d.depth-- }()
	if d.bad {
		return dst
	}
	quote := func(s string) []byte {
		text, _ := json.Marshal(s) // a string has no errors
		return append(dst, text...)
	}
	switch n.kind {
	case avroUnion:
		return d.appendJSON(dst, d.branch(n))
	case avroNull:
		return append(dst, "null"...)
	case avroRecord:
		if n.whole {
			n = n.elem
		}
		for i, f := range n.fields {
			if i == 0 {
				dst = append(dst, '{')
			} else {
				dst = append(dst, ',')
			}
			dst = quote(n.names[i])
			dst = d.appendJSON(append(dst, ':'), f)
		}
		if len(n.fields) == 0 {
			dst = append(dst, '{')
		}
		return append(dst, '}')
	case avroArray, avroMap:
		open, end := byte('['), byte(']')
		if n.kind == avroMap {
			open, end = '{', '}'
		}
		dst = append(dst, open)
		d.blocks(func() {
			if dst[len(dst)-1] != open {
				dst = append(dst, ',')
			}
			if n.kind == avroMap {
				dst = append(quote(d.text(d.take(d.long()))), ':')
			}
			dst = d.appendJSON(dst, n.elem)
		})
		return append(dst, end)
	}
	c := newAvroColumn(n, vec.Type{})
	c.begin()
	if d.scalar(n, c); d.bad {
		return dst
	}
	switch c.typ.Kind {
	case vec.Bool:
		return strconv.AppendBool(dst, c.v.Bools[0])
	case vec.Float:
		if f := c.v.Floats[0]; !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(dst, f, 'g', -1, 64)
		}
		return quote(fmt.Sprint(c.v.Floats[0]))
	case vec.Decimal:
		return vec.AppendDecimal(dst, c.v.Int128(0), c.typ.Scale)
	case vec.Text:
		return quote(c.v.Strings[0])
	case vec.Blob:
		return quote(base64.StdEncoding.EncodeToString([]byte(c.v.Strings[0])))
	case vec.Interval:
		return quote(fmt.Sprintf("%d months %d days %d", c.v.Spans[0].Months, c.v.Spans[0].Days, c.v.Spans[0].Micros))
	}
	return strconv.AppendInt(dst, c.v.Ints[0], 10)
}
