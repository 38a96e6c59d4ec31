package vec

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
)

// ErrCorrupt means that encoded values cannot be decoded.
var ErrCorrupt = errors.New("report: corrupt encoded row")

// Order is the order of one column of a sort key.
type Order struct {
	Desc       bool
	NullsFirst bool
}

// Keys encode their order: the bytes of two keys compare like their values, column by column.
// Every value begins with a byte that places NULL, and ends itself, so keys may be appended to one
// another. -0 equals 0, all NaN are equal and greater than all numbers. Text compares by bytes.
const (
	nullFirst = 0x00
	present   = 0x01
	nullLast  = 0x02
)

// AppendKey appends row i of v to a key.
func (v *Vec) AppendKey(dst []byte, i int, o Order) []byte {
	if v.Null(i) {
		if o.NullsFirst {
			return append(dst, nullFirst)
		}
		return append(dst, nullLast)
	}
	start := len(dst) + 1
	dst = v.appendPresent(append(dst, present), v.at(i))
	if o.Desc {
		for j := start; j < len(dst); j++ {
			dst[j] = ^dst[j]
		}
	}
	return dst
}

// appendPresent appends the value at position i, which is not NULL.
func (v *Vec) appendPresent(dst []byte, i int) []byte {
	switch v.Type.Kind.storage() {
	case inBools:
		if v.Bools[i] {
			return append(dst, 1)
		}
		return append(dst, 0)
	case inInts:
		if v.Type.Kind != Decimal {
			return binary.BigEndian.AppendUint64(dst, uint64(v.Ints[i])^1<<63)
		}
		x := v.Int128(i)
		if w, ok := x.Int64(); ok {
			return binary.BigEndian.AppendUint64(append(dst, 1), uint64(w)^1<<63)
		}
		if x.Hi < 0 {
			dst = append(dst, 0)
		} else {
			dst = append(dst, 2)
		}
		dst = binary.BigEndian.AppendUint64(dst, uint64(x.Hi)^1<<63)
		return binary.BigEndian.AppendUint64(dst, x.Lo)
	case inFloats:
		return binary.BigEndian.AppendUint64(dst, orderFloat(v.Floats[i]))
	case inStrings:
		return appendEscaped(dst, v.String(i))
	case inSpans:
		// equal if the same length with months of 30 days, as in PostgreSQL
		s := v.Spans[i]
		total, _ := Mul64(int64(s.Months)*30+int64(s.Days), dayMicros).Add(Int128Of(s.Micros))
		dst = binary.BigEndian.AppendUint64(dst, uint64(total.Hi)^1<<63)
		dst = binary.BigEndian.AppendUint64(dst, total.Lo)
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.Months)^1<<31)
		return binary.BigEndian.AppendUint32(dst, uint32(s.Days)^1<<31)
	case inList:
		for e := v.Offsets[i]; e < v.Offsets[i+1]; e++ {
			dst = v.Elem.AppendKey(append(dst, 1), int(e), Order{})
		}
		return append(dst, 0)
	case inFields:
		for _, f := range v.Fields {
			dst = f.AppendKey(dst, i, Order{})
		}
	}
	return dst
}

const dayMicros = 24 * 60 * 60 * 1_000_000

// orderFloat maps floats to integers of the same order.
func orderFloat(f float64) uint64 {
	switch {
	case f == 0:
		f = 0 // -0 equals 0
	case f != f:
		f = math.NaN()
	}
	u := math.Float64bits(f)
	if u>>63 != 0 {
		return ^u
	}
	return u | 1<<63
}

func unorderFloat(u uint64) float64 {
	if u>>63 != 0 {
		return math.Float64frombits(u &^ (1 << 63))
	}
	return math.Float64frombits(^u)
}

// appendEscaped appends s so that it ends itself: 0x00 becomes 0x00 0xff, and 0x00 0x01 is the end.
func appendEscaped(dst []byte, s string) []byte {
	for {
		n := strings.IndexByte(s, 0)
		if n < 0 {
			return append(append(dst, s...), 0, 1)
		}
		dst = append(append(dst, s[:n]...), 0, 0xff)
		s = s[n+1:]
	}
}

// Builder makes a Vec value by value.
type Builder struct{ Vec }

// NewBuilder returns a Builder with room for n rows.
func NewBuilder(t Type, n int) *Builder {
	b := &Builder{Vec{Type: t}}
	switch t.Kind.storage() {
	case inBools:
		b.Bools = make([]bool, 0, n)
	case inInts:
		b.Ints = make([]int64, 0, n)
	case inFloats:
		b.Floats = make([]float64, 0, n)
	case inStrings:
		b.Strings = make([]string, 0, n)
	case inSpans:
		b.Spans = make([]Span, 0, n)
	case inList:
		b.Offsets = append(make([]int32, 0, n+1), 0)
		b.Elem = &NewBuilder(*t.Elem, n).Vec
	case inFields:
		for _, f := range t.Fields {
			b.Fields = append(b.Fields, &NewBuilder(f.Type, n).Vec)
		}
	}
	return b
}

// builder returns a Builder for a part of a nested vector.
func builder(v *Vec) *Builder { return &Builder{*v} }

// AppendNull appends a row that is NULL.
func (b *Builder) AppendNull() {
	for len(b.Nulls) < b.Len {
		b.Nulls = append(b.Nulls, false)
	}
	b.Nulls = append(b.Nulls, true)
	b.Len++
	switch b.Type.Kind.storage() {
	case inBools:
		b.Bools = append(b.Bools, false)
	case inInts:
		if b.Wide != nil {
			b.Wide = append(b.Wide, Int128{})
		} else {
			b.Ints = append(b.Ints, 0)
		}
	case inFloats:
		b.Floats = append(b.Floats, 0)
	case inStrings:
		b.Strings = append(b.Strings, "")
	case inSpans:
		b.Spans = append(b.Spans, Span{})
	case inList:
		b.Offsets = append(b.Offsets, b.Offsets[len(b.Offsets)-1])
	case inFields:
		for i, f := range b.Fields {
			fb := builder(f)
			fb.AppendNull()
			b.Fields[i] = &fb.Vec
		}
	}
}

// added counts a row that is not NULL, after its value was appended.
func (b *Builder) added() {
	b.Len++
	if b.Nulls != nil {
		b.Nulls = append(b.Nulls, false)
	}
}

// AppendInt appends to a kind that is stored in Ints, Decimal included.
func (b *Builder) AppendInt(x int64) {
	if b.Wide != nil {
		b.Wide = append(b.Wide, Int128Of(x))
	} else {
		b.Ints = append(b.Ints, x)
	}
	b.added()
}

// AppendInt128 appends to a Decimal.
func (b *Builder) AppendInt128(x Int128) {
	if v, ok := x.Int64(); ok && b.Wide == nil {
		b.Ints = append(b.Ints, v)
	} else {
		b.Widen()
		b.Wide = append(b.Wide, x)
	}
	b.added()
}

// AppendBool appends to a Bool.
func (b *Builder) AppendBool(x bool) { b.Bools = append(b.Bools, x); b.added() }

// AppendFloat appends to a Float.
func (b *Builder) AppendFloat(x float64) { b.Floats = append(b.Floats, x); b.added() }

// AppendString appends to a Text, Blob or JSON.
func (b *Builder) AppendString(x string) { b.Strings = append(b.Strings, x); b.added() }

// AppendSpan appends to an Interval.
func (b *Builder) AppendSpan(x Span) { b.Spans = append(b.Spans, x); b.added() }

// AppendList appends a list, or a map, whose elements fill appends.
func (b *Builder) AppendList(fill func(elems *Builder) error) error {
	elems := builder(b.Elem)
	err := fill(elems)
	b.endList(elems)
	return err
}

// AppendStruct appends a struct. fill appends one value to each field.
func (b *Builder) AppendStruct(fill func(i int, field *Builder) error) error {
	for i, f := range b.Fields {
		fb := builder(f)
		if err := fill(i, fb); err != nil {
			return err
		}
		b.Fields[i] = &fb.Vec
	}
	b.added()
	return nil
}

// Append appends row i of v, which has the same type.
func (b *Builder) Append(v *Vec, i int) {
	if v.Null(i) || b.Type.Kind == Null {
		b.AppendNull()
		return
	}
	at := v.at(i)
	switch b.Type.Kind.storage() {
	case inBools:
		b.AppendBool(v.Bools[at])
	case inInts:
		if v.Wide != nil {
			b.AppendInt128(v.Wide[at])
		} else {
			b.AppendInt(v.Ints[at])
		}
	case inFloats:
		b.AppendFloat(v.Floats[at])
	case inStrings:
		b.AppendString(v.String(i))
	case inSpans:
		b.AppendSpan(v.Spans[at])
	case inList:
		elems := builder(b.Elem)
		for e := v.Offsets[at]; e < v.Offsets[at+1]; e++ {
			elems.Append(v.Elem, int(e))
		}
		b.endList(elems)
	case inFields:
		for j, f := range v.Fields {
			fb := builder(b.Fields[j])
			fb.Append(f, at)
			b.Fields[j] = &fb.Vec
		}
		b.added()
	}
}

// endList ends a list whose elements were appended to elems.
func (b *Builder) endList(elems *Builder) {
	b.Elem = &elems.Vec
	b.Offsets = append(b.Offsets, int32(b.Elem.Len))
	b.added()
}

// Done returns the vector. The Builder must not be used afterwards.
func (b *Builder) Done() *Vec { return &b.Vec }

// DecodeKey appends a value that AppendKey encoded with the zero Order or NullsFirst, and returns
// the rest of the key. Strings do not alias key.
func (b *Builder) DecodeKey(key []byte) (rest []byte, err error) {
	if len(key) == 0 {
		return nil, ErrCorrupt
	}
	first, key := key[0], key[1:]
	if first == nullFirst || first == nullLast {
		b.AppendNull()
		return key, nil
	}
	word := func() (u uint64) {
		if len(key) < 8 {
			err = ErrCorrupt
			return 0
		}
		u, key = binary.BigEndian.Uint64(key), key[8:]
		return u
	}
	switch b.Type.Kind.storage() {
	case inNothing:
		return nil, ErrCorrupt
	case inBools:
		if len(key) == 0 {
			return nil, ErrCorrupt
		}
		b.AppendBool(key[0] != 0)
		key = key[1:]
	case inInts:
		if b.Type.Kind != Decimal {
			b.AppendInt(int64(word() ^ 1<<63))
			break
		}
		if len(key) == 0 {
			return nil, ErrCorrupt
		}
		narrow := key[0] == 1
		if key = key[1:]; narrow {
			b.AppendInt(int64(word() ^ 1<<63))
			break
		}
		hi := int64(word() ^ 1<<63)
		b.AppendInt128(Int128{hi, word()})
	case inFloats:
		b.AppendFloat(unorderFloat(word()))
	case inStrings:
		var s string
		if s, key, err = cutEscaped(key); err == nil {
			b.AppendString(s)
		}
	case inSpans:
		hi := int64(word() ^ 1<<63)
		total := Int128{hi, word()}
		parts := word()
		s := Span{Months: int32(uint32(parts>>32) ^ 1<<31), Days: int32(uint32(parts) ^ 1<<31)}
		rest, _ := total.Sub(Mul64(int64(s.Months)*30+int64(s.Days), dayMicros))
		s.Micros, _ = rest.Int64()
		b.AppendSpan(s)
	case inList:
		elems := builder(b.Elem)
		for {
			if len(key) == 0 {
				return nil, ErrCorrupt
			}
			more := key[0] == 1
			if key = key[1:]; !more {
				break
			}
			if key, err = elems.DecodeKey(key); err != nil {
				return nil, err
			}
		}
		b.endList(elems)
	case inFields:
		for j := range b.Fields {
			fb := builder(b.Fields[j])
			if key, err = fb.DecodeKey(key); err != nil {
				return nil, err
			}
			b.Fields[j] = &fb.Vec
		}
		b.added()
	}
	return key, err
}

// cutEscaped returns the string that appendEscaped wrote.
func cutEscaped(b []byte) (s string, rest []byte, err error) {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			continue
		}
		if b[i+1] == 1 {
			return strings.ReplaceAll(string(b[:i]), "\x00\xff", "\x00"), b[i+2:], nil
		}
		i++
	}
	return "", nil, ErrCorrupt
}
