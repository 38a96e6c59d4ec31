package parquetio

import (
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// A guard refuses a value that the library would write as another one, or that other readers
// refuse: a time outside the range of its column, and text that is not UTF-8. A nil guard accepts
// all values.
type guard func(value unsafe.Pointer) error

// guardOf returns the guard of a field of type t. tag is the tag for its type, such as
// parquet-element.
func guardOf(mine parquet.Node, t reflect.Type, name, tag string) guard {
	switch {
	case t.Kind() == reflect.Pointer:
		inner := guardOf(parquet.Required(mine), t.Elem(), name, tag)
		if inner == nil {
			return nil
		}
		return func(value unsafe.Pointer) error {
			if p := *(*unsafe.Pointer)(value); p != nil {
				return inner(p)
			}
			return nil
		}
	case t.Kind() == reflect.Slice && (!mine.Leaf() || mine.Repeated() && t.Elem().Kind() != reflect.Uint8):
		if !mine.Repeated() {
			mine, tag = mine.Fields()[0].Fields()[0], "parquet-element"
		}
		inner, size := guardOf(mine, t.Elem(), name, tag), t.Elem().Size()
		if inner == nil {
			return nil
		}
		return func(value unsafe.Pointer) error {
			s := (*slice)(value)
			for i := range s.len {
				if err := inner(unsafe.Add(s.data, uintptr(i)*size)); err != nil {
					return err
				}
			}
			return nil
		}
	case t.Kind() == reflect.Map && !mine.Leaf():
		pair := mine.Fields()[0].Fields()
		return mapGuard(t, guardOf(pair[0], t.Key(), name, "parquet-key"), guardOf(pair[1], t.Elem(), name, "parquet-value"))
	case t.Kind() == reflect.Struct && !mine.Leaf():
		return structGuard(mine, t, name)
	case !mine.Leaf():
		return nil
	case t == timeType:
		if l, ok := logicalOf(mine.Type()).(*format.TimestampType); ok && l.Unit.Value.Duration() == time.Nanosecond {
			return timeGuard(name, mine.Optional())
		}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr:
		return integerGuard(mine.Type(), t, name)
	case t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		switch logicalOf(mine.Type()).(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			return textGuard(name, tag)
		}
	}
	return nil
}

func structGuard(mine parquet.Node, t reflect.Type, path string) guard {
	type field struct {
		offset uintptr
		check  guard
	}
	var fields []field
	record := reflect.New(t).Elem()
	for _, f := range mine.Fields() {
		value := f.Value(record)
		if check := guardOf(f, value.Type(), join(path, f.Name()), "parquet"); check != nil {
			fields = append(fields, field{value.Addr().Pointer() - record.UnsafeAddr(), check})
		}
	}
	if fields == nil {
		return nil
	}
	return func(value unsafe.Pointer) error {
		for i := range fields {
			if err := fields[i].check(unsafe.Add(value, fields[i].offset)); err != nil {
				return err
			}
		}
		return nil
	}
}

func mapGuard(t reflect.Type, key, elem guard) guard {
	if key == nil && elem == nil {
		return nil
	}
	return func(value unsafe.Pointer) error {
		k, v := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		for m := reflect.NewAt(t, value).Elem().MapRange(); m.Next(); {
			k.SetIterKey(m)
			v.SetIterValue(m)
			if key != nil {
				if err := key(k.Addr().UnsafePointer()); err != nil {
					return err
				}
			}
			if elem != nil {
				if err := elem(v.Addr().UnsafePointer()); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// timeGuard refuses a time outside the years 1678 to 2262, which nanoseconds cannot hold. A zero
// time in an optional column is written as null.
func timeGuard(name string, optional bool) guard {
	return func(value unsafe.Pointer) error {
		const most = math.MaxInt64 / int64(time.Second)
		at := (*time.Time)(value)
		if s := at.Unix(); s > -most && s < most || optional && at.IsZero() {
			return nil
		}
		return fmt.Errorf("column %q: %v does not fit into nanoseconds since 1970; tag the field timestamp(microsecond), or optional to write a zero time as null", name, at)
	}
}

// integerGuard refuses integers outside the range of a column whose tag makes it narrower than the
// field: int(n), uint(n), decimal(s:p) and time.
func integerGuard(column parquet.Type, t reflect.Type, name string) guard {
	signed := t.Kind() <= reflect.Int64
	least, most := int64(math.MinInt64), uint64(math.MaxUint64)
	switch l := logicalOf(column).(type) {
	case *format.IntType:
		if int(l.BitWidth) >= t.Bits() && l.IsSigned == signed {
			return nil
		}
		if most >>= 64 - uint(l.BitWidth); l.IsSigned {
			most >>= 1
			least = -int64(most) - 1
		} else {
			least = 0
		}
	case *format.DecimalType:
		if l.Precision > 18 {
			return nil
		}
		most = uint64(math.Pow10(int(l.Precision))) - 1
		least = -int64(most)
	case *format.TimeType:
		unit := l.Unit.Value.Duration()
		if t == durationType {
			unit = time.Nanosecond
		}
		least, most = 0, uint64(24*time.Hour/unit)-1
	default:
		return nil
	}
	value := reflect.New(t).Elem()
	return func(p unsafe.Pointer) error {
		value.Set(reflect.NewAt(t, p).Elem())
		if signed && value.Int() >= least && (value.Int() < 0 || uint64(value.Int()) <= most) || !signed && value.Uint() <= most {
			return nil
		}
		return fmt.Errorf("column %q: %v is outside the range of its type %v", name, value, column)
	}
}

// textGuard refuses bytes that are not UTF-8 in a column of text. Other readers refuse such files.
func textGuard(name, tag string) guard {
	return func(value unsafe.Pointer) error { // strings and slices of bytes begin alike
		s := *(*string)(value)
		if utf8.ValidString(s) {
			return nil
		}
		return fmt.Errorf("column %q: %.60q is not UTF-8; write bytes with the option bytes in the tag %s, or replace them with strings.ToValidUTF8", name, s, tag)
	}
}
