package vec

import (
	"encoding/binary"
	"math"
)

// AppendRow appends row i of all columns in a compact form, which has no order.
func AppendRow(dst []byte, cols []*Vec, i int) []byte {
	for _, c := range cols {
		dst = c.appendValue(dst, i)
	}
	return dst
}

// A value is a byte, 0 for NULL and 1 otherwise, and its content: integers as zigzag varints, wide
// decimals as 16 bytes after a byte of 2, floats as 8 bytes, strings and lists with their length.
func (v *Vec) appendValue(dst []byte, i int) []byte {
	if v.Null(i) || v.Type.Kind == Null {
		return append(dst, 0)
	}
	at := v.at(i)
	switch v.Type.Kind.storage() {
	case inBools:
		if v.Bools[at] {
			return append(dst, 1, 1)
		}
		return append(dst, 1, 0)
	case inInts:
		if v.Wide != nil {
			x := v.Wide[at]
			n, ok := x.Int64()
			if !ok {
				dst = binary.LittleEndian.AppendUint64(append(dst, 2), uint64(x.Hi))
				return binary.LittleEndian.AppendUint64(dst, x.Lo)
			}
			return binary.AppendVarint(append(dst, 1), n)
		}
		return binary.AppendVarint(append(dst, 1), v.Ints[at])
	case inFloats:
		return binary.LittleEndian.AppendUint64(append(dst, 1), math.Float64bits(v.Floats[at]))
	case inStrings:
		s := v.String(i)
		return append(binary.AppendUvarint(append(dst, 1), uint64(len(s))), s...)
	case inSpans:
		s := v.Spans[at]
		dst = binary.AppendVarint(append(dst, 1), int64(s.Months))
		dst = binary.AppendVarint(dst, int64(s.Days))
		return binary.AppendVarint(dst, s.Micros)
	case inList:
		dst = binary.AppendUvarint(append(dst, 1), uint64(v.Offsets[at+1]-v.Offsets[at]))
		for e := v.Offsets[at]; e < v.Offsets[at+1]; e++ {
			dst = v.Elem.appendValue(dst, int(e))
		}
		return dst
	case inFields:
		dst = append(dst, 1)
		for _, f := range v.Fields {
			dst = f.appendValue(dst, at)
		}
	}
	return dst
}

// DecodeRow appends a row that AppendRow encoded to the builders, and returns the rest of row.
// Strings do not alias row.
func DecodeRow(row []byte, cols []*Builder) (rest []byte, err error) {
	for _, b := range cols {
		if row, err = b.decodeValue(row); err != nil {
			return nil, err
		}
	}
	return row, nil
}

func (b *Builder) decodeValue(row []byte) (rest []byte, err error) {
	if len(row) == 0 {
		return nil, ErrCorrupt
	}
	first := row[0]
	if row = row[1:]; first == 0 {
		b.AppendNull()
		return row, nil
	}
	varint := func() int64 {
		x, n := binary.Varint(row)
		if n <= 0 {
			err, n = ErrCorrupt, 0
		}
		row = row[n:]
		return x
	}
	length := func() int {
		x, n := binary.Uvarint(row)
		if n <= 0 || x > uint64(len(row)-n) {
			err = ErrCorrupt
			return 0
		}
		row = row[n:]
		return int(x)
	}
	switch b.Type.Kind.storage() {
	case inNothing:
		return nil, ErrCorrupt
	case inBools:
		if len(row) < 1 {
			return nil, ErrCorrupt
		}
		b.AppendBool(row[0] != 0)
		row = row[1:]
	case inInts:
		if first == 1 {
			b.AppendInt(varint())
			break
		}
		if len(row) < 16 || b.Type.Kind != Decimal {
			return nil, ErrCorrupt
		}
		b.AppendInt128(Int128{int64(binary.LittleEndian.Uint64(row)), binary.LittleEndian.Uint64(row[8:])})
		row = row[16:]
	case inFloats:
		if len(row) < 8 {
			return nil, ErrCorrupt
		}
		b.AppendFloat(math.Float64frombits(binary.LittleEndian.Uint64(row)))
		row = row[8:]
	case inStrings:
		n := length()
		b.AppendString(string(row[:n]))
		row = row[n:]
	case inSpans:
		s := Span{Months: int32(varint()), Days: int32(varint())}
		s.Micros = varint()
		b.AppendSpan(s)
	case inList:
		elems := builder(b.Elem)
		for range length() {
			if row, err = elems.decodeValue(row); err != nil {
				return nil, err
			}
		}
		b.endList(elems)
	case inFields:
		for j := range b.Fields {
			fb := builder(b.Fields[j])
			if row, err = fb.decodeValue(row); err != nil {
				return nil, err
			}
			b.Fields[j] = &fb.Vec
		}
		b.added()
	}
	return row, err
}
