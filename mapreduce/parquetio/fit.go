package parquetio

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// A setter stores a value other than null in a field.
type setter func(field unsafe.Pointer, v *parquet.Value)

// A maker returns the setter of one column of a row group. The setter keeps strings in the column's
// arena and stores its first error there.
type maker func(*column) setter

// column is the state of the conversion of one column.
type column struct {
	arena arena.Arena
	err   error
}

func (c *column) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// fileType is the type of a column in a file.
type fileType struct {
	parquet.Type
	logical format.LogicalTypeValue // nil for none
}

// newFileType returns the type of a column. The library drops the type FLOAT16.
func newFileType(c *parquet.Column, element *format.SchemaElement) fileType {
	f := fileType{c.Type(), logicalOf(c.Type())}
	if f.logical == nil && element != nil {
		f.logical = element.LogicalType.Value
	}
	return f
}

func (f fileType) String() string {
	if _, ok := f.logical.(*format.Float16Type); ok {
		return "FLOAT16"
	}
	return f.Type.String()
}

// isNull reports whether the column holds nothing but nulls.
func (f fileType) isNull() bool {
	_, ok := f.logical.(*format.NullType)
	return ok
}

func logicalOf(t parquet.Type) format.LogicalTypeValue {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	int96Type    = reflect.TypeFor[deprecated.Int96]()
	intervalType = reflect.TypeFor[parquet.Interval]()
)

// errOther means that no conversion exists.
var errOther = errors.New("they differ")

// fit returns the conversion of the values of a file's column to a Go field of type t. mine is the
// Parquet type that the field's tag describes.
func fit(t reflect.Type, mine parquet.Type, f fileType) (maker, error) {
	own := logicalOf(mine)
	kind := f.Kind()
	decimal, isDecimal := f.logical.(*format.DecimalType)
	isBytes := t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
	isArray := t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8
	if isDecimal && (t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 || isBytes || isArray) {
		if err := checkScale(own, decimal); err != nil {
			return nil, err
		}
	}
	switch k := t.Kind(); {
	case k == reflect.Pointer:
		inner, err := fit(t.Elem(), mine, f)
		return func(c *column) setter {
			set := inner(c)
			return func(field unsafe.Pointer, v *parquet.Value) {
				p := reflect.New(t.Elem()).UnsafePointer()
				set(p, v)
				*(*unsafe.Pointer)(field) = p
			}
		}, err
	case isJSON(own) && k != reflect.String && !isBytes:
		if kind != parquet.ByteArray {
			return nil, errOther
		}
		return func(c *column) setter {
			return func(field unsafe.Pointer, v *parquet.Value) {
				if err := json.Unmarshal(v.ByteArray(), reflect.NewAt(t, field).Interface()); err != nil {
					c.fail(fmt.Errorf("a value is not JSON for %v: %w", t, err))
				}
			}
		}, nil
	case t == timeType:
		return fitTime(f)
	case t == durationType:
		if l, ok := f.logical.(*format.TimeType); ok {
			unit := int64(l.Unit.Value.Duration())
			integer := integerOf(f)
			return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*int64)(field) = integer(v) * unit }), nil
		}
		return fitInteger(t, own, f)
	case t == int96Type:
		if kind != parquet.Int96 {
			return nil, errOther
		}
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*deprecated.Int96)(field) = v.Int96() }), nil
	case t == intervalType:
		if kind != parquet.FixedLenByteArray || f.Length() != 12 {
			return nil, errOther
		}
		return stateless(func(field unsafe.Pointer, v *parquet.Value) {
			for i := range 3 {
				(*[3]uint32)(field)[i] = binary.LittleEndian.Uint32(v.ByteArray()[4*i:])
			}
		}), nil
	case k == reflect.String:
		return fitString(f)
	case isBytes:
		if kind != parquet.ByteArray && kind != parquet.FixedLenByteArray {
			return nil, errOther
		}
		return stateless(func(field unsafe.Pointer, v *parquet.Value) {
			*(*[]byte)(field) = append(make([]byte, 0, len(v.ByteArray())), v.ByteArray()...)
		}), nil
	case isArray:
		if kind != parquet.FixedLenByteArray || f.Length() != t.Len() {
			return nil, errOther
		}
		return stateless(func(field unsafe.Pointer, v *parquet.Value) {
			copy(unsafe.Slice((*byte)(field), t.Len()), v.ByteArray())
		}), nil
	case k == reflect.Bool:
		if kind != parquet.Boolean {
			return nil, errOther
		}
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*bool)(field) = v.Boolean() }), nil
	case k >= reflect.Int && k <= reflect.Uintptr:
		if isDecimal {
			return fitDecimal(t, decimal, f)
		}
		return fitInteger(t, own, f)
	case k == reflect.Float32 || k == reflect.Float64:
		return fitFloat(k, f)
	}
	return nil, errOther
}

func isJSON(l format.LogicalTypeValue) bool {
	_, ok := l.(*format.JsonType)
	return ok
}

func stateless(s setter) maker { return func(*column) setter { return s } }

// checkScale refuses to read a decimal into an integer or bytes of another scale.
func checkScale(own format.LogicalTypeValue, file *format.DecimalType) error {
	mine, tagged := own.(*format.DecimalType)
	switch {
	case tagged && mine.Scale != file.Scale:
		return fmt.Errorf("the values would be wrong by a factor of ten to the power of %d", max(mine.Scale-file.Scale, file.Scale-mine.Scale))
	case !tagged && file.Scale != 0:
		return errors.New("without its scale the number would be another one")
	}
	return nil
}

func fitTime(f fileType) (maker, error) {
	integer := integerOf(f)
	switch l := f.logical.(type) {
	case *format.DateType:
		return stateless(func(field unsafe.Pointer, v *parquet.Value) {
			*(*time.Time)(field) = time.Unix(integer(v)*86400, 0).UTC()
		}), nil
	case *format.TimestampType:
		unit := int64(l.Unit.Value.Duration())
		perSecond := int64(time.Second) / unit
		return stateless(func(field unsafe.Pointer, v *parquet.Value) {
			n := integer(v)
			*(*time.Time)(field) = time.Unix(n/perSecond, n%perSecond*unit).UTC()
		}), nil
	}
	if f.Kind() != parquet.Int96 {
		return nil, errors.New("only a timestamp or a date is a time.Time")
	}
	return stateless(func(field unsafe.Pointer, v *parquet.Value) { // nanoseconds of the day, and the Julian day
		x := v.Int96()
		const unixEpoch = 2440588
		*(*time.Time)(field) = time.Unix((int64(x[2])-unixEpoch)*86400, int64(uint64(x[1])<<32|uint64(x[0]))).UTC()
	}), nil
}

func fitString(f fileType) (maker, error) {
	switch f.logical.(type) {
	case *format.DecimalType:
		return nil, errOther
	case *format.UUIDType:
		return func(c *column) setter {
			return func(field unsafe.Pointer, v *parquet.Value) {
				b := v.ByteArray()
				*(*string)(field) = c.arena.KeepBytes(fmt.Appendf(nil, "%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
			}
		}, nil
	}
	if f.Kind() != parquet.ByteArray {
		return nil, errOther
	}
	return func(c *column) setter {
		return func(field unsafe.Pointer, v *parquet.Value) { *(*string)(field) = c.arena.KeepBytes(v.ByteArray()) }
	}, nil
}

// isPlainText reports whether fitString stores the bytes of the column unchanged.
func isPlainText(t reflect.Type, f fileType) bool {
	return t.Kind() == reflect.String && f.Kind() == parquet.ByteArray
}

// isPlainNumber reports whether a field of 64 bits gets the integers of the column unchanged.
func isPlainNumber(t reflect.Type, f fileType) bool {
	isInteger := t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 && t.Size() == 8 && t != durationType
	l, _ := f.logical.(*format.IntType)
	return isInteger && (f.Kind() == parquet.Int64 || f.Kind() == parquet.Int32 && (l == nil || l.IsSigned))
}

// integerOf returns a function that reads the values of an integer column.
func integerOf(f fileType) func(*parquet.Value) int64 {
	if f.Kind() != parquet.Int32 {
		return func(v *parquet.Value) int64 { return v.Int64() }
	}
	if l, ok := f.logical.(*format.IntType); ok && !l.IsSigned {
		return func(v *parquet.Value) int64 { return int64(v.Uint32()) }
	}
	return func(v *parquet.Value) int64 { return int64(v.Int32()) }
}

func fitInteger(t reflect.Type, own format.LogicalTypeValue, f fileType) (maker, error) {
	width, unsigned := 64, false
	switch f.Kind() {
	case parquet.Int32:
		width = 32
	case parquet.Int64:
	default:
		return nil, errOther
	}
	switch l := f.logical.(type) {
	case nil, *format.IntType:
		switch own.(type) {
		case nil, *format.IntType:
		default:
			return nil, errors.New("the column has no unit, the tag has one")
		}
		if l, ok := l.(*format.IntType); ok {
			width, unsigned = int(l.BitWidth), !l.IsSigned
		}
	default:
		if own == nil || reflect.TypeOf(own) != reflect.TypeOf(l) {
			return nil, errors.New("a plain integer would lose the unit")
		}
		if unitOf(own) != unitOf(l) {
			return nil, errors.New("the units differ")
		}
	}
	have, positive := t.Bits(), t.Kind() >= reflect.Uint
	switch {
	case positive && !unsigned:
		return nil, errors.New("the file may hold values below zero")
	case have < width || have == width && unsigned && !positive:
		return nil, errors.New("the file may hold larger values")
	}
	return storeInteger(t, integerOf(f)), nil
}

// unitOf returns the unit of a time or timestamp, and zero for other types.
func unitOf(l format.LogicalTypeValue) time.Duration {
	switch l := l.(type) {
	case *format.TimestampType:
		return l.Unit.Value.Duration()
	case *format.TimeType:
		return l.Unit.Value.Duration()
	}
	return 0
}

// storeInteger returns a maker for integer fields of type t. Integers with and without sign have
// the same bits.
func storeInteger(t reflect.Type, integer func(*parquet.Value) int64) maker {
	switch t.Size() {
	case 8:
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*int64)(field) = integer(v) })
	case 4:
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*int32)(field) = int32(integer(v)) })
	case 2:
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*int16)(field) = int16(integer(v)) })
	}
	return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*int8)(field) = int8(integer(v)) })
}

// fitDecimal reads decimals into integers of the same scale. An int64 takes decimals of any
// precision; a value that does not fit is an error.
func fitDecimal(t reflect.Type, d *format.DecimalType, f fileType) (maker, error) {
	if t.Kind() >= reflect.Uint {
		return nil, errors.New("the file may hold values below zero")
	}
	if t.Bits() < 64 && d.Precision > map[int]int32{8: 2, 16: 4, 32: 9}[t.Bits()] {
		return nil, errors.New("the file may hold larger values")
	}
	if f.Kind() == parquet.Int32 || f.Kind() == parquet.Int64 {
		return storeInteger(t, integerOf(f)), nil
	}
	unused := 64 - t.Bits()
	return func(c *column) setter { // the bytes of an integer, the highest first
		return storeInteger(t, func(v *parquet.Value) int64 {
			n, ok := bigEndian(v.ByteArray())
			if !ok || n<<unused>>unused != n {
				c.fail(fmt.Errorf("the decimal with the bytes %x does not fit %v", v.ByteArray(), t))
			}
			return n
		})(c)
	}, nil
}

// bigEndian returns the integer in b, and false if it does not fit.
func bigEndian(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	sign := byte(int8(b[0]) >> 7)
	for ; len(b) > 8; b = b[1:] {
		if b[0] != sign {
			return 0, false
		}
	}
	n = int64(int8(sign))
	for _, x := range b {
		n = n<<8 | int64(x)
	}
	return n, byte(n>>63) == sign
}

func fitFloat(k reflect.Kind, f fileType) (maker, error) {
	var float func(*parquet.Value) float64
	switch _, half := f.logical.(*format.Float16Type); {
	case half:
		float = func(v *parquet.Value) float64 { return halfFloat(binary.LittleEndian.Uint16(v.ByteArray())) }
	case f.Kind() == parquet.Float && k == reflect.Float32:
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*float32)(field) = v.Float() }), nil
	case f.Kind() == parquet.Float:
		float = func(v *parquet.Value) float64 { return float64(v.Float()) }
	case f.Kind() == parquet.Double && k == reflect.Float64:
		float = func(v *parquet.Value) float64 { return v.Double() }
	case f.Kind() == parquet.Double:
		return nil, errors.New("the file may hold more digits")
	default:
		return nil, errOther
	}
	if k == reflect.Float32 {
		return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*float32)(field) = float32(float(v)) }), nil
	}
	return stateless(func(field unsafe.Pointer, v *parquet.Value) { *(*float64)(field) = float(v) }), nil
}

// halfFloat returns the value of an IEEE 754 number of 16 bits.
func halfFloat(x uint16) float64 {
	exp, frac := int(x>>10&31), float64(x&1023)
	f := math.Ldexp(1024+frac, exp-25)
	switch {
	case exp == 0:
		f = math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		f = math.Inf(1)
	case exp == 31:
		f = math.NaN()
	}
	if x>>15 != 0 {
		f = -f
	}
	return f
}

// goTypeFor describes a field that can hold the values of column name.
func goTypeFor(name string, f fileType) string {
	tag := func(format string, args ...any) string {
		return fmt.Sprintf(" with the tag `parquet:\"%s,%s\"`", name, fmt.Sprintf(format, args...))
	}
	switch l := f.logical.(type) {
	case *format.DecimalType:
		typ := "an int64"
		if l.Precision <= 9 {
			typ = "an int32"
		}
		return typ + tag("decimal(%d:%d)", l.Scale, min(l.Precision, 18))
	case *format.TimestampType:
		return "a time.Time, or an int64" + tag("timestamp(%s)", unitName(l.Unit))
	case *format.TimeType:
		return "a time.Duration"
	case *format.DateType:
		return "a time.Time, or an int32" + tag("date")
	case *format.UUIDType:
		return "a string, or a [16]byte" + tag("uuid")
	case *format.Float16Type:
		return "a float32"
	case *format.IntType:
		if l.IsSigned {
			return fmt.Sprintf("an int%d", l.BitWidth)
		}
		return fmt.Sprintf("a uint%d", l.BitWidth)
	}
	switch f.Kind() {
	case parquet.Boolean:
		return "a bool"
	case parquet.Int32:
		return "an int32"
	case parquet.Int64:
		return "an int64"
	case parquet.Int96:
		return "a time.Time"
	case parquet.Float:
		return "a float32"
	case parquet.Double:
		return "a float64"
	case parquet.FixedLenByteArray:
		return fmt.Sprintf("a [%d]byte or a []byte", f.Length())
	}
	return "a string or a []byte"
}

func unitName(u format.TimeUnit) string {
	switch u.Value.Duration() {
	case time.Millisecond:
		return "millisecond"
	case time.Microsecond:
		return "microsecond"
	}
	return "nanosecond"
}
