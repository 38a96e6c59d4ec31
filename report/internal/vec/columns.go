package vec

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// AppendColumns appends n rows column by column. That is several times faster to encode and to
// decode than AppendRow, but rows cannot be taken out.
//
// A column is a byte: 0 if its values follow as in AppendRow, else packed, and hasNulls if it has
// NULLs. A packed column has a bit for each row that is NULL, if there are any, and its values:
// floats as 8 bytes, integers as the least one and the differences from it in the fewest of 0, 1,
// 2, 4 or 8 bytes, texts as their lengths, written like integers, and their bytes.
func AppendColumns(dst []byte, cols []*Vec, n int) []byte {
	for _, c := range cols {
		dst = c.appendColumn(dst, n)
	}
	return dst
}

const (
	packed   = 1
	hasNulls = 2
)

func (v *Vec) appendColumn(dst []byte, n int) []byte {
	storage := v.Type.Kind.storage()
	if v.Const || v.Wide != nil || storage != inInts && storage != inFloats && storage != inStrings {
		dst = append(dst, 0)
		for i := range n {
			dst = v.appendValue(dst, i)
		}
		return dst
	}
	if v.Nulls == nil {
		dst = append(dst, packed)
	} else {
		dst = append(dst, packed|hasNulls)
		for i := 0; i < n; i += 8 {
			var b byte
			for k, null := range v.Nulls[i:min(i+8, n)] {
				if null {
					b |= 1 << k
				}
			}
			dst = append(dst, b)
		}
	}
	switch storage {
	case inInts:
		return appendInts(dst, v.Ints[:n])
	case inFloats:
		for _, x := range v.Floats[:n] {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
		}
		return dst
	}
	lengths := make([]int64, n)
	for i := range lengths {
		lengths[i] = int64(len(v.String(i)))
	}
	dst = appendInts(dst, lengths)
	for i := range n {
		dst = append(dst, v.String(i)...)
	}
	return dst
}

// appendInts appends the least number, the width of the differences, and the differences.
func appendInts(dst []byte, ints []int64) []byte {
	var least, most int64
	if len(ints) > 0 {
		least, most = slices.Min(ints), slices.Max(ints)
	}
	width := widthOf(uint64(most) - uint64(least)) // right if it wraps
	dst = append(binary.LittleEndian.AppendUint64(dst, uint64(least)), byte(width))
	switch width {
	case 1:
		for _, x := range ints {
			dst = append(dst, byte(x-least))
		}
	case 2:
		for _, x := range ints {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(x-least))
		}
	case 4:
		for _, x := range ints {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(x-least))
		}
	case 8:
		for _, x := range ints {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(x-least))
		}
	}
	return dst
}

// widthOf returns the bytes that hold numbers up to x: 0, 1, 2, 4 or 8.
func widthOf(x uint64) int {
	n := (bits.Len64(x) + 7) / 8
	for n&(n-1) != 0 {
		n++
	}
	return n
}

// readInts appends n integers that appendInts wrote to ints.
func readInts(src []byte, n int, ints []int64) (all []int64, rest []byte, err error) {
	if len(src) < 9 {
		return nil, nil, ErrCorrupt
	}
	least, width := int64(binary.LittleEndian.Uint64(src)), int(src[8])
	src = src[9:]
	if width > 8 || width&(width-1) != 0 || len(src)/max(width, 1) < n && width > 0 {
		return nil, nil, ErrCorrupt
	}
	all = slices.Grow(ints, n)[:len(ints)+n]
	out := all[len(ints):]
	switch width {
	case 0:
		for i := range out {
			out[i] = least
		}
	case 1:
		for i := range out {
			out[i] = least + int64(src[i])
		}
	case 2:
		for i := range out {
			out[i] = least + int64(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case 4:
		for i := range out {
			out[i] = least + int64(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case 8:
		for i := range out {
			out[i] = least + int64(binary.LittleEndian.Uint64(src[8*i:]))
		}
	}
	return all, src[n*width:], nil
}

// DecodeColumns appends n rows that AppendColumns encoded to the builders, and returns the rest of
// src. Strings do not alias src.
func DecodeColumns(src []byte, cols []*Builder, n int) (rest []byte, err error) {
	for _, b := range cols {
		if src, err = b.decodeColumn(src, n); err != nil {
			return nil, err
		}
	}
	return src, nil
}

func (b *Builder) decodeColumn(src []byte, n int) (rest []byte, err error) {
	if len(src) == 0 || n < 0 {
		return nil, ErrCorrupt
	}
	form := src[0]
	src = src[1:]
	if form == 0 {
		for range n {
			if src, err = b.decodeValue(src); err != nil {
				return nil, err
			}
		}
		return src, nil
	}
	var nulls []byte
	if form&hasNulls != 0 {
		if len(src) < (n+7)/8 {
			return nil, ErrCorrupt
		}
		nulls, src = src[:(n+7)/8], src[(n+7)/8:]
	}
	switch b.Type.Kind.storage() {
	case inInts:
		if b.Wide == nil {
			b.Ints, src, err = readInts(src, n, b.Ints)
			break
		}
		var few []int64
		few, src, err = readInts(src, n, nil)
		for _, x := range few {
			b.Wide = append(b.Wide, Int128Of(x))
		}
	case inFloats:
		if len(src)/8 < n {
			return nil, ErrCorrupt
		}
		for i := range n {
			b.Floats = append(b.Floats, math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
		src = src[8*n:]
	case inStrings:
		src, err = b.decodeTexts(src, n)
	default:
		err = ErrCorrupt
	}
	if err != nil {
		return nil, err
	}
	if nulls != nil || b.Nulls != nil {
		for len(b.Nulls) < b.Len {
			b.Nulls = append(b.Nulls, false)
		}
		for i := range n {
			b.Nulls = append(b.Nulls, nulls != nil && nulls[i/8]>>(i%8)&1 != 0)
		}
	}
	b.Len += n
	return src, nil
}

// decodeTexts appends n texts, which share their memory.
func (b *Builder) decodeTexts(src []byte, n int) (rest []byte, err error) {
	lengths, src, err := readInts(src, n, nil)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, l := range lengths {
		if l < 0 || l > int64(len(src)-total) {
			return nil, ErrCorrupt
		}
		total += int(l)
	}
	all := string(src[:total])
	for _, l := range lengths {
		b.Strings = append(b.Strings, all[:l])
		all = all[l:]
	}
	return src[total:], nil
}
