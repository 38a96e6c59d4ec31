package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// decoding is how the bytes of a column of Parquet become values.
type decoding uint8

const (
	asBool     decoding = iota
	asInt32             // also dates and narrow decimals
	asUint32            // an unsigned INT32
	asInt64             // times mul, by div
	asUint64            // an unsigned INT64, as a decimal
	asInt96             // a timestamp
	asFloat32           //
	asFloat64           //
	asFloat16           // in two bytes
	asText              // bytes of any length
	asFixed             // bytes of a fixed length
	asUUID              // 16 bytes, as text
	asBig               // a decimal of any length, the highest byte first
	asBigFixed          // the same of a fixed length
	asInterval          // months, days and milliseconds, of 4 bytes each
	asNothing           // only NULL
)

// decoder decodes values of one column.
type decoder struct {
	typ      vec.Type
	as       decoding
	mul, div int64 // of asInt64 and asInt32, to microseconds
}

// newDecoder returns the decoder of a column of values.
func newDecoder(c *parquet.Column, element *format.SchemaElement, asString bool) (d decoder, err error) {
	d.mul, d.div = 1, 1
	kind := c.Type().Kind()
	var logical format.LogicalTypeValue
	if l := c.Type().LogicalType(); l != nil {
		logical = l.Value
	} else if element != nil {
		logical = element.LogicalType.Value
	}
	micros := func(unit time.Duration) {
		if unit >= time.Microsecond {
			d.mul = int64(unit / time.Microsecond)
		} else {
			d.div = int64(time.Microsecond / unit)
		}
	}
	if element != nil && element.ConvertedType.Valid && element.ConvertedType.V == deprecated.Interval && kind == parquet.FixedLenByteArray && c.Type().Length() == 12 {
		d.typ, d.as = vec.Of(vec.Interval), asInterval
		return d, nil
	}
	if _, ok := logical.(*format.NullType); ok {
		d.typ, d.as = vec.Of(vec.Null), asNothing
		return d, nil
	}
	switch kind {
	case parquet.Boolean:
		d.typ, d.as = vec.Of(vec.Bool), asBool
	case parquet.Int32:
		d.typ, d.as = vec.Of(vec.Int), asInt32
	case parquet.Int64:
		d.typ, d.as = vec.Of(vec.Int), asInt64
	case parquet.Int96:
		d.typ, d.as = vec.Of(vec.Timestamp), asInt96
	case parquet.Float:
		d.typ, d.as = vec.Of(vec.Float), asFloat32
	case parquet.Double:
		d.typ, d.as = vec.Of(vec.Float), asFloat64
	case parquet.ByteArray:
		if d.typ, d.as = vec.Of(vec.Blob), asText; asString {
			d.typ = vec.Of(vec.Text)
		}
	case parquet.FixedLenByteArray:
		d.typ, d.as = vec.Of(vec.Blob), asFixed
	default:
		return d, fmt.Errorf("the type %s is not known", c.Type())
	}
	isInt := kind == parquet.Int32 || kind == parquet.Int64
	switch l := logical.(type) {
	case *format.StringType, *format.EnumType:
		if kind == parquet.ByteArray {
			d.typ = vec.Of(vec.Text)
		}
	case *format.JsonType:
		d.typ = vec.Of(vec.JSON)
	case *format.UUIDType:
		if kind == parquet.FixedLenByteArray && c.Type().Length() == 16 {
			d.typ, d.as = vec.Of(vec.Text), asUUID
		}
	case *format.Float16Type:
		if kind == parquet.FixedLenByteArray && c.Type().Length() == 2 {
			d.typ, d.as = vec.Of(vec.Float), asFloat16
		}
	case *format.IntType:
		if !l.IsSigned && kind == parquet.Int32 {
			d.as = asUint32
		} else if !l.IsSigned && kind == parquet.Int64 {
			d.typ, d.as = vec.DecimalOf(20, 0), asUint64
		}
	case *format.DecimalType:
		if l.Precision < 1 || l.Precision > vec.MaxPrecision || l.Scale < 0 || l.Scale > l.Precision {
			return d, fmt.Errorf("decimal(%d,%d) has more than %d digits", l.Precision, l.Scale, vec.MaxPrecision)
		}
		d.typ = vec.DecimalOf(int(l.Precision), int(l.Scale))
		switch kind {
		case parquet.ByteArray:
			d.as = asBig
		case parquet.FixedLenByteArray:
			d.as = asBigFixed
		}
	case *format.DateType:
		if kind == parquet.Int32 {
			d.typ = vec.Of(vec.Date)
		}
	case *format.TimeType:
		if isInt {
			d.typ = vec.Of(vec.Time)
			micros(l.Unit.Value.Duration())
		}
	case *format.TimestampType:
		if kind == parquet.Int64 {
			if d.typ = vec.Of(vec.Timestamp); l.IsAdjustedToUTC {
				d.typ = vec.Of(vec.TimestampTZ)
			}
			micros(l.Unit.Value.Duration())
		}
	}
	return d, nil
}

var errDamaged = errors.New("the page is damaged: it has too few values, or an index outside its dictionary")

// decode stores n values of data, from the given one, in v at a position. v has room for them. The
// values are copied.
func (d *decoder) decode(v *vec.Vec, at int, data *encoding.Values, from, n int) error {
	switch d.as {
	case asBool:
		bits := data.Boolean()
		if (from+n+7)/8 > len(bits) {
			return errDamaged
		}
		for i := range n {
			v.Bools[at+i] = bits[(from+i)/8]>>((from+i)%8)&1 != 0
		}
	case asInt32, asUint32:
		values := data.Int32()
		if from+n > len(values) {
			return errDamaged
		}
		to := v.Ints[at : at+n]
		switch values = values[from : from+n]; {
		case d.as == asUint32:
			for i, x := range values {
				to[i] = int64(uint32(x))
			}
		default:
			for i, x := range values {
				to[i] = int64(x) * d.mul
			}
		}
	case asInt64:
		values := data.Int64()
		if from+n > len(values) {
			return errDamaged
		}
		to := v.Ints[at : at+n]
		switch values = values[from : from+n]; {
		case d.mul != 1:
			for i, x := range values {
				to[i] = x * d.mul
			}
		case d.div != 1:
			for i, x := range values {
				q := x / d.div
				if x%d.div < 0 {
					q--
				}
				to[i] = q
			}
		default:
			copy(to, values)
		}
	case asUint64:
		values := data.Int64()
		if from+n > len(values) {
			return errDamaged
		}
		for i, x := range values[from : from+n] {
			setDecimal(v, at+i, vec.Int128{Lo: uint64(x)})
		}
	case asInt96:
		values := data.Int96()
		if from+n > len(values) {
			return errDamaged
		}
		const julian1970 = 2440588
		for i, x := range values[from : from+n] {
			v.Ints[at+i] = (int64(x[2])-julian1970)*day + (int64(x[1])<<32|int64(x[0]))/1000
		}
	case asFloat32:
		values := data.Float()
		if from+n > len(values) {
			return errDamaged
		}
		for i, x := range values[from : from+n] {
			v.Floats[at+i] = float64(x)
		}
	case asFloat64:
		values := data.Double()
		if from+n > len(values) {
			return errDamaged
		}
		copy(v.Floats[at:at+n], values[from:from+n])
	case asText:
		return decodeText(v.Strings[at:at+n], data, from, d.typ.Kind == vec.Text)
	case asBig:
		bytes, offsets := data.ByteArray()
		if from+n >= len(offsets) {
			return errDamaged
		}
		for i := range n {
			if !setBig(v, at+i, bytes[offsets[from+i]:offsets[from+i+1]]) {
				return errors.New("a decimal has more digits than its type")
			}
		}
	case asFixed, asUUID, asFloat16, asBigFixed, asInterval:
		bytes, size := data.FixedLenByteArray()
		if (from+n)*size > len(bytes) {
			return errDamaged
		}
		for i := range n {
			value := bytes[(from+i)*size : (from+i+1)*size]
			switch d.as {
			case asFixed:
				v.Strings[at+i] = string(value)
			case asUUID:
				v.Strings[at+i] = uuidOf(value)
			case asInterval:
				v.Spans[at+i] = spanOf(value)
			case asFloat16:
				v.Floats[at+i] = float16(binary.LittleEndian.Uint16(value))
			default:
				if !setBig(v, at+i, value) {
					return errors.New("a decimal has more digits than its type")
				}
			}
		}
	}
	return nil
}

func uuidOf(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// spanOf returns an interval of months, days and milliseconds, of 4 bytes each.
func spanOf(b []byte) vec.Span {
	return vec.Span{Months: int32(binary.LittleEndian.Uint32(b)), Days: int32(binary.LittleEndian.Uint32(b[4:])), Micros: int64(binary.LittleEndian.Uint32(b[8:])) * 1000}
}

// errNotUTF8 reports bytes in a column of text.
var errNotUTF8 = errors.New("a text is not UTF-8; write the file again, with the column as binary or as UTF-8")

// decodeText stores texts or bytes of data, from the given one. They share one copy of their bytes.
func decodeText(to []string, data *encoding.Values, from int, isText bool) error {
	bytes, offsets := data.ByteArray()
	if from+len(to) >= len(offsets) {
		return errDamaged
	}
	offsets = offsets[from : from+len(to)+1]
	first, last := offsets[0], offsets[len(to)]
	if first > last || int(last) > len(bytes) {
		return errDamaged
	}
	all := string(bytes[first:last])
	for i := range to {
		start, end := offsets[i]-first, offsets[i+1]-first
		if start > end || int(end) > len(all) {
			return errDamaged
		}
		to[i] = all[start:end] // also an empty text at the end of all
	}
	if isText && !isUTF8(all) || isText && !isASCII(all) && slices.ContainsFunc(to, func(s string) bool { return !isUTF8(s) }) {
		return errNotUTF8
	}
	return nil
}

// setDecimal stores a decimal.
func setDecimal(v *vec.Vec, i int, x vec.Int128) {
	if n, ok := x.Int64(); ok && v.Wide == nil {
		v.Ints[i] = n
		return
	}
	v.Widen()
	v.Wide[i] = x
}

// setBig stores a decimal whose bytes begin with the highest one. It returns false if it has more
// than 128 bits.
func setBig(v *vec.Vec, i int, b []byte) bool {
	var x vec.Int128
	if len(b) > 0 && b[0]&0x80 != 0 {
		x = vec.Int128{Hi: -1, Lo: math.MaxUint64}
	}
	for len(b) > 16 {
		if int64(int8(b[0])) != x.Hi {
			return false
		}
		b = b[1:]
	}
	for _, c := range b {
		x.Hi = x.Hi<<8 | int64(x.Lo>>56)
		x.Lo = x.Lo<<8 | uint64(c)
	}
	setDecimal(v, i, x)
	return true
}

// float16 converts a floating-point number of 16 bits.
func float16(u uint16) float64 {
	sign, exponent, fraction := u>>15, int(u>>10&31), float64(u&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		if f = math.Inf(1); fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(fraction+1024, exponent-25)
	}
	if sign != 0 {
		f = -f
	}
	return f
}
