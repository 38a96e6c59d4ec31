package jsoncodec

import (
	"math"
	"reflect"
	"strconv"
	"unsafe"
)

// ColumnKind is the form in which a Column stores its values.
type ColumnKind uint8

// The kinds of columns.
const (
	Bools   ColumnKind = iota // in Bools: true and false, also in quotes
	Ints                      // in Ints: numbers times 10^Scale, also in quotes
	Floats                    // in Floats: numbers, also in quotes
	Texts                     // in Strings: the text of strings, and other values as they are spelled
	Raws                      // in Strings: JSON text
	Lists                     // in Offsets and Elem
	Objects                   // in Fields
	Maps                      // in Offsets and Elem, whose Fields are the keys and the values
)

// Column receives the values of one key of many lines: row by row, without records in between. null
// and missing keys become rows that are NULL.
//
// The caller owns the slices of the root and of its fields: they have room for all rows. Columns
// inside of Lists and Maps grow by themselves. Only the slices of the kind are used.
type Column struct {
	Name  string // the key
	Kind  ColumnKind
	Scale uint8 // of Ints, up to 18

	// Nulls reports the rows without a value. It is nil if all rows have one.
	Nulls   []bool
	Bools   []bool
	Ints    []int64
	Floats  []float64
	Strings []string
	// Offsets has one more element than rows: the elements of row i are Offsets[i] to Offsets[i+1]
	// of Elem.
	Offsets []int32
	Elem    *Column
	Fields  []*Column

	room int // rows
	obj  *object
}

// Columns reads lines into columns, by the rules and with the speed of a Decoder. Keys must match
// exactly. It must not be shared by goroutines.
type Columns struct {
	d    Decoder
	root *Column
}

// NewColumns returns a reader into root, with room for the given number of rows. A root of the kind
// Objects receives the members of a line that is an object; another root receives the value itself.
func NewColumns(root *Column, rows int) *Columns {
	root.compile()
	root.grow(rows)
	return &Columns{root: root}
}

// compile makes the tables of objects.
func (c *Column) compile() {
	if c.Elem != nil {
		c.Elem.compile()
	}
	for _, f := range c.Fields {
		f.compile()
	}
	if c.Kind != Objects {
		return
	}
	o := &object{names: map[string]*key{}, wide: len(c.Fields) > 63}
	o.start.next, o.start.m0 = &o.start, math.MaxUint64 // matches no key
	for i, f := range c.Fields {
		k := o.key(f.Name)
		k.col, k.scale, k.number = f, f.Scale, i
		switch k.op = opColumn; {
		case f.Kind == Texts:
			k.op = opString
		case f.Kind == Ints && f.Scale == 0:
			k.op = opInt64
		case f.Kind == Ints:
			k.op = opDecimal
		}
		if !o.wide {
			k.bit = 1 << i
			o.all |= k.bit
		}
		o.keys = append(o.keys, k)
		o.names[f.Name] = k
	}
	c.obj = o
}

// grow makes room for rows.
func (c *Column) grow(rows int) {
	if rows <= c.room {
		return
	}
	c.room = rows
	switch c.Kind {
	case Bools:
		c.Bools = extend(c.Bools, rows)
	case Ints:
		c.Ints = extend(c.Ints, rows)
	case Floats:
		c.Floats = extend(c.Floats, rows)
	case Texts, Raws:
		c.Strings = extend(c.Strings, rows)
	case Lists, Maps:
		c.Offsets = extend(c.Offsets, rows+1)
		c.Elem.grow(4)
	}
	if c.Nulls != nil {
		c.Nulls = extend(c.Nulls, rows)
	}
	for _, f := range c.Fields {
		f.grow(rows)
	}
}

func extend[T any](s []T, n int) []T {
	bigger := make([]T, n)
	copy(bigger, s)
	return bigger
}

// Reset forgets all rows, to reuse the memory.
func (r *Columns) Reset() {
	r.root.reset()
	r.d.texts = 0
}

// IsASCII reports that all bytes of Texts and Raws since Reset are below 0x80. False is no proof.
func (r *Columns) IsASCII() bool { return r.d.texts&high == 0 }

func (c *Column) reset() {
	c.Nulls = nil
	if c.obj != nil {
		c.obj.nullable = 0
	}
	if c.Elem != nil {
		c.Elem.reset()
	}
	for _, f := range c.Fields {
		f.reset()
	}
}

// setNull makes a row NULL.
func (c *Column) setNull(row int) {
	if c.Nulls == nil {
		c.Nulls = make([]bool, c.room)
	}
	c.Nulls[row] = true
	switch c.Kind {
	case Texts, Raws:
		c.Strings[row] = ""
	case Lists, Maps:
		c.Offsets[row+1] = c.Offsets[row]
	case Objects:
		c.obj.fill(row, c.obj.all)
	}
}

// fill ends a row: the columns of the missing keys become NULL, and the columns of other keys do
// not.
func (o *object) fill(row int, missing uint64) {
	o.nullable |= missing
	for _, k := range o.keys {
		switch {
		case o.wide || k.bit&missing != 0:
			k.col.setNull(row)
		case k.col.Nulls != nil:
			k.col.Nulls[row] = false
		}
	}
}

// Decode reads line into a row of the columns. Rows must be read in their order. A row may be read
// again, which replaces it. The line must be in memory as Decoder.Decode wants it, and strings
// alias it. An error is an *Error, and the row is then incomplete.
func (r *Columns) Decode(line []byte, row int) error {
	d := &r.d
	d.base, d.end, d.depth = unsafe.Pointer(unsafe.SliceData(line)), len(line), 0
	i := d.skipSpace(0)
	switch {
	case r.root.Kind != Objects:
		i = d.readColumn(r.root, i, row)
	case at(d.base, i) != '{':
		i = d.fail(i, "an object")
	case len(r.root.Fields) == 0 && d.isWhole(i, 0):
		return nil
	default:
		d.depth = 1
		i = d.readRow(r.root.obj, i+1, row, true)
	}
	if i < 0 || d.checkEnd(i) < 0 {
		return d.err
	}
	return nil
}

// readRow is readObject for columns.
func (d *Decoder) readRow(o *object, i, row int, root bool) int {
	p := d.base
	var seen, null uint64
	all := uint64(math.MaxUint64)
	if root && !o.wide {
		all = o.all
	}
	var few [fewWords]uint64
	many := o.noneSeen(few[:])
	if o.wide {
		o.fill(row, 0)
	}
	if i = d.skipSpace(i); at(p, i) == '}' {
		i++
		goto done
	}
	for k := &o.start; ; {
		next := k.next
		if (load(p, i)^next.w0)&next.m0|(load(p, i+8)^next.w1)&next.m1 != 0 ||
			len(next.token) > 16 && d.slice(i+16, min(i+len(next.token), d.end)) != next.token[16:] {
			var value int
			if next, value = d.lookup(o, k, i); value < 0 {
				return -1
			}
			i = value
		} else {
			i += len(next.token)
		}
		k = next
		c := at(p, i)
		if c <= ' ' {
			i = d.skipSpace(i)
			c = at(p, i)
		}

		op, isRepeated := k.op, k.bit&seen != 0 || many != nil && k.addSeen(many)
		if isRepeated {
			op = opSkip // the first value counts
		}
		switch op {
		case opSkip:
			if c == '"' {
				if i = plainEnd(p, i+1); at(p, i) == '"' {
					i++
				} else {
					i = d.skipString(i)
				}
			} else if _, end := readShort(p, i); end >= 0 {
				i = end
			} else {
				i = d.skip(i)
			}
		case opString:
			if c == '"' {
				if end, all := plainText(p, i+1); at(p, end) == '"' {
					d.texts |= all
					k.col.Strings[row] = d.slice(i+1, end)
					i = end + 1
					null &^= k.bit
					break
				}
			}
			goto slow
		case opInt64:
			if n, end := readShort(p, i); end >= 0 {
				k.col.Ints[row] = int64(n)
				i = end
				null &^= k.bit
				break
			}
			goto slow
		case opDecimal:
			if n, places, end := readShortDecimal(p, i); end >= 0 && places <= int(k.scale) && k.scale <= 12 {
				k.col.Ints[row] = int64(n * pow10[k.scale-uint8(places)])
				i = end
				null &^= k.bit
				break
			}
			goto slow
		default:
			goto slow
		}
		goto stored
	slow:
		if c == 'n' {
			null |= k.bit
			i = d.skipLiteral(i, "null")
			if o.wide && i >= 0 {
				k.col.setNull(row)
			}
		} else {
			null &^= k.bit
			i = d.readColumn(k.col, i, row)
		}
	stored:
		if i < 0 {
			d.err.Field = join(k.name, d.err.Field)
			return -1
		}
		if o.wide && k.col != nil && c != 'n' && !isRepeated {
			k.col.Nulls[row] = false
		}

		seen |= k.bit
		if c = at(p, i); c <= ' ' {
			i = d.skipSpace(i)
			c = at(p, i)
		}
		if c != ',' {
			if c == '}' {
				i++
				break
			}
			return d.fail(i, "a comma or a closing brace")
		}
		if seen == all {
			if d.isWhole(i, 1) {
				i = d.end
			} else if i = d.skipMembers(i); i < 0 {
				return -1
			}
			break
		}
		if i++; at(p, i) <= ' ' {
			i = d.skipSpace(i)
		}
	}
done:
	if missing := o.all&^seen | null; missing|o.nullable != 0 {
		o.fill(row, missing)
	}
	return i
}

// readColumn reads the value at i, of any kind, into a row. It returns the end of the value, or -1.
func (d *Decoder) readColumn(c *Column, i, row int) int {
	b := at(d.base, i)
	if b == 'n' {
		c.setNull(row)
		return d.skipLiteral(i, "null")
	}
	if c.Nulls != nil {
		c.Nulls[row] = false
	}
	switch c.Kind {
	case Raws, Texts:
		end := 0
		if b == '"' && c.Kind == Texts {
			c.Strings[row], end = d.readText(i + 1)
		} else if end = d.skip(i); end >= 0 {
			c.Strings[row] = d.slice(i, end)
			if b == '"' || b == '{' || b == '[' {
				d.texts = high // nobody looked
			}
		}
		return end
	case Bools:
		switch {
		case b == 't':
			c.Bools[row] = true
			return d.skipLiteral(i, "true")
		case b == 'f':
			c.Bools[row] = false
			return d.skipLiteral(i, "false")
		case b == '"':
			text, end := d.readText(i + 1)
			if c.Bools[row] = text == "true"; end < 0 || text == "true" || text == "false" {
				return end
			}
		}
		return d.fail(i, "true or false")
	case Ints:
		return d.readScaled(c, i, row)
	case Floats:
		if b == '"' {
			text, end := d.readText(i + 1)
			f, err := strconv.ParseFloat(text, 64)
			if c.Floats[row] = f; end >= 0 && err != nil {
				return d.fail(i, "a number")
			}
			return end
		}
		f, end := d.readFloat(anyFloat, i, 64)
		c.Floats[row] = f
		return end
	case Objects:
		if b != '{' {
			return d.fail(i, "an object")
		}
		if !d.enter(i) {
			return -1
		}
		i = d.readRow(c.obj, i+1, row, false)
		d.depth--
		return i
	case Lists:
		return d.readList(c, i, row)
	}
	if b != '{' {
		return d.fail(i, "an object")
	}
	if !d.enter(i) {
		return -1
	}
	n := int(c.Offsets[row])
	keys, values := c.Elem.Fields[0], c.Elem.Fields[1]
	i = d.eachMember(i, func(name string, i int) int {
		c.Elem.reach(n)
		keys.Strings[n] = name
		i = d.readColumn(values, i, n)
		n++
		return i
	})
	c.Offsets[row+1] = int32(n)
	d.depth--
	return i
}

var anyFloat = &value{op: opFloat64, typ: reflect.TypeFor[float64]()}

// reach makes room for row n.
func (c *Column) reach(n int) {
	if n >= c.room {
		c.grow(2 * (n + 1))
	}
}

// readList reads the array at i into a row of c.
func (d *Decoder) readList(c *Column, i, row int) int {
	if at(d.base, i) != '[' {
		return d.fail(i, "an array")
	}
	if !d.enter(i) {
		return -1
	}
	n := int(c.Offsets[row])
	i = d.skipSpace(i + 1)
	if at(d.base, i) == ']' {
		i++
	} else {
		for more := true; more; n++ {
			c.Elem.reach(n)
			if i = d.readColumn(c.Elem, i, n); i < 0 {
				d.err.Field = join("["+strconv.Itoa(n-int(c.Offsets[row]))+"]", d.err.Field)
				return -1
			}
			i, more = d.skipComma(i)
		}
	}
	c.Offsets[row+1] = int32(n)
	d.depth--
	return i
}

// readScaled reads the number at i into a row of Ints. Numbers such as 5.0 and 1e3 are integers.
func (d *Decoder) readScaled(c *Column, i, row int) int {
	text, end := "", 0
	if at(d.base, i) == '"' {
		if text, end = d.readText(i + 1); end >= 0 && !isNumber(text) {
			end = d.fail(i, "a number")
		}
	} else if end = d.skipNumber(i); end >= 0 {
		text = d.slice(i, end)
	} else {
		d.fail(i, "a number")
	}
	if end < 0 {
		return -1
	}
	neg := text[0] == '-'
	if neg {
		text = text[1:]
	}
	u, ok := decimal(text, int(c.Scale))
	if most := uint64(1) << 63; !ok || u >= most && !(neg && u == most) {
		if c.Scale > 0 {
			return d.fail(i, "a number with at most "+strconv.Itoa(int(c.Scale))+" decimals")
		}
		return d.fail(i, "an integer of 64 bits")
	}
	if c.Ints[row] = int64(u); neg {
		c.Ints[row] = -int64(u)
	}
	return end
}
